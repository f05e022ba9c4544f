import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { golden } from "../../tests/golden.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { tensorBytes, transposedView } from "./read-tensor.ts";
import { bytesSource } from "./source.ts";
import { latin, namedPickle, storedZip, torchZip } from "./torch-file.test-helper.ts";
import { openTorchFile, torchTensors } from "./torch-file.ts";

const file = (name: string) => golden(`torch_files/${name}`);
const bytesOf = (name: string) => new Uint8Array(readFileSync(file(name)));
const opened = (bytes: Uint8Array) => torchTensors(bytesSource(bytes, "x.pt"));

test.each(["plain.pt", "protocol4.pt", "legacy.pt", "deflated.pt"])("every tensor of %s is PyTorch's, bit by bit", async (name) => {
  const { tensors: expected, path } = await openSafetensors(file("expected.safetensors"));
  const numbers = readFileSync(path);
  using torch = openTorchFile(file(name));
  expect([...torch.tensors.keys()].sort()).toEqual([...expected.keys()].sort());
  expect(torch.others.size).toBe(0);
  for (const [tensor, { dtype, shape, offset, bytes }] of expected) {
    const view = torch.tensors.get(tensor)!;
    expect({ dtype: view.dtype, shape: view.shape }, tensor).toEqual({ dtype, shape });
    expect(Buffer.from(tensorBytes(torch, tensor, view)), tensor).toEqual(numbers.subarray(offset, offset + bytes));
  }
});

test("a transposed view reads the other way round", () => {
  using torch = openTorchFile(file("plain.pt"));
  const [whole, transposed] = [torch.tensors.get("whole")!, torch.tensors.get("transposed")!];
  expect(tensorBytes(torch, "x", transposedView(whole))).toEqual(tensorBytes(torch, "x", transposed));
  expect(tensorBytes(torch, "x", transposedView(transposed))).toEqual(tensorBytes(torch, "x", whole));
});

test("a file with a zip64 directory", () => {
  const plain = torchZip(namedPickle("collections", "OrderedDict", ")R"), {}, { wide: true });
  expect(opened(plain).tensors.size).toBe(0);
});

describe("refused by name", () => {
  test.each([
    ["object.pt", /"__main__\.Custom"/],
    ["sparse.pt", /"torch\._utils\._rebuild_sparse_tensor"/],
    ["quantized.pt", /"torch\.QInt8Storage"|"torch\._utils\._rebuild_qtensor"/],
  ])("%s", (name, message) => {
    expect(() => openTorchFile(file(name))).toThrow(message);
  });

  test.each(["os.system", "posix.system", "builtins.eval", "builtins.exec", "subprocess.Popen", "torch.load", "torch._utils.__builtins__"])(
    "%s",
    (name) => {
      const [module, short] = [name.slice(0, name.lastIndexOf(".")), name.slice(name.lastIndexOf(".") + 1)];
      const hostile = torchZip(namedPickle(module, short, "(X\x04\0\0\0trueteR"));
      expect(() => opened(hostile)).toThrow(new RegExp(`asks Python for "${name.replaceAll(".", "\\.")}"[\\s\\S]*Nothing of it was run`));
    },
  );

  test("what is no PyTorch file", () => {
    expect(() => opened(new Uint8Array(0))).toThrow(/neither a zip file nor a pickle/);
    expect(() => opened(latin("version https://git-lfs.github.com/spec/v1\n"))).toThrow(/Git LFS pointer/);
    expect(() => opened(latin("\x80\x02K\x01."))).toThrow();
    expect(() => opened(storedZip({ "a/b.txt": latin("x") }))).toThrow(/no data\.pkl/);
    expect(() => opened(torchZip(latin("\x80\x02N."), { "x/constants.pkl": latin("N.") }))).toThrow(/TorchScript/);
    expect(() => opened(torchZip(latin("\x80\x02}."), { "x/byteorder": latin("big") }))).toThrow(/byte order "big"/);
    expect(() => opened(torchZip(latin("\x80\x02N.")))).toThrow(/holds None; expected a dict/);
    expect(() => openTorchFile(golden("torch_files"))).toThrow(/folder or device/);
    expect(() => openTorchFile(golden("torch_files/none.pt"))).toThrow(/Cannot read the file/);
  });

  test("a tensor that repeats its storage, when it is read", () => {
    using torch = openTorchFile(file("expanded.pt"));
    expect(() => tensorBytes(torch, "a", torch.tensors.get("a")!)).toThrow(/"a" \[1000,1000\] repeats[\s\S]*contiguous/);
  });
});

test.each(["plain.pt", "legacy.pt", "deflated.pt"])("%s cut short anywhere", (name) => {
  const whole = bytesOf(name);
  for (let length = whole.length - 1; length >= 0; length -= 13) {
    expect(() => opened(whole.subarray(0, length)), String(length)).toThrow(/Not a valid PyTorch file/);
  }
});
