/** @file A graph as ONNX bytes. Only nodes that the outputs depend on are written; base tensors stay in their files as external data. */

import { create, toBinary } from "@bufbuild/protobuf";
import { invariant } from "../../base/errors.ts";
import { type Shape, show } from "../sizes.ts";
import type { Graph, Initializer, Node, Value } from "../value.ts";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
  type TypeProto,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "./onnx_pb.ts";
import { ENCODINGS, NEWER, ONNX_DTYPES, type OnnxAttribute, type OnnxNode, OPSET } from "./operators.ts";

const IR_VERSION = 10n;

export interface SerializedGraph {
  readonly bytes: Uint8Array;
  /** Names of the feeds the outputs depend on. */
  readonly inputs: ReadonlySet<string>;
}

/** The nodes, inputs and initializers that the outputs need. */
export function reachable(graph: Graph): { nodes: Node[]; used: Set<Value> } {
  const used = new Set<Value>(graph.outputs.values());
  const nodes: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((output) => used.has(output))) continue;
    nodes.push(node);
    for (const input of node.inputs) if (input) used.add(input);
  }
  return { nodes: nodes.reverse(), used };
}

/** ONNX bytes; `locate` turns an initializer's file into the location written for ONNX Runtime. */
export function serialize(graph: Graph, locate: (file: string) => string = (file) => file): SerializedGraph {
  const { nodes, used } = reachable(graph);
  const names = new Map<Value, string>();
  for (const [name, value] of graph.outputs) if (graph.producer(value) && !names.has(value)) names.set(value, name);
  const nameOf = (value: Value) => names.get(value) ?? value.name;
  const constants = new Map<string, TensorProto>();
  const encoded = nodes.map((node, index) => nodeProto(node, index, nameOf, constants));
  const inputs = [...graph.inputs.values()].filter((value) => used.has(value));
  const infos = valueInfos();
  const outputs = [...graph.outputs].map(([name, value]) => {
    if (nameOf(value) !== name)
      encoded.push(create(NodeProtoSchema, { opType: "Identity", name: `out/${name}`, input: [nameOf(value)], output: [name] }));
    return infos(name, value);
  });
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: "skein",
    opsetImport: [
      { domain: "", version: BigInt(Math.max(OPSET, ...nodes.map(({ op }) => NEWER[op] ?? 0))) },
      { domain: "com.microsoft", version: 1n },
    ],
    graph: create(GraphProtoSchema, {
      name: graph.name,
      node: encoded,
      input: inputs.map((value) => infos(value.name, value)),
      output: outputs,
      // The engine cannot derive every shape. Without them it finds no buffer to use again, and looks for one the longer the more nodes there are.
      valueInfo: nodes.flatMap(({ outputs: values }) =>
        values.filter((value) => !names.has(value)).map((value) => infos(value.name, value)),
      ),
      initializer: [
        ...[...graph.initializers.values()].filter(({ value }) => used.has(value)).map((initializer) => tensorProto(initializer, locate)),
        ...constants.values(),
      ],
    }),
  });
  return { bytes: toBinary(ModelProtoSchema, model), inputs: new Set(inputs.map(({ name }) => name)) };
}

function nodeProto(node: Node, index: number, nameOf: (value: Value) => string, constants: Map<string, TensorProto>): NodeProto {
  const encode = ENCODINGS[node.op] as (attributes: unknown) => OnnxNode;
  const { type = node.op, domain = "", attributes = {}, operands, constants: extra = [] } = encode(node.attributes);
  return create(NodeProtoSchema, {
    opType: type,
    domain,
    name: `${node.scope}/${node.op}_${index}`,
    input: [
      ...node.inputs.slice(0, operands).map((value) => (value ? nameOf(value) : "")),
      ...extra.map((numbers) => (numbers === null ? "" : constantName(numbers, constants))),
    ],
    output: node.outputs.map(nameOf),
    attribute: Object.entries(attributes).map(([name, attribute]) => attributeProto(name, attribute)),
  });
}

function constantName(numbers: readonly number[] | number, constants: Map<string, TensorProto>): string {
  const list = typeof numbers === "number" ? [numbers] : numbers;
  const name = `int64${typeof numbers === "number" ? "" : "s"}_${list.join("_")}`;
  const raw = new Uint8Array(BigInt64Array.from(list, BigInt).buffer);
  constants.set(
    name,
    create(TensorProtoSchema, {
      name,
      dataType: ONNX_DTYPES.int64,
      dims: typeof numbers === "number" ? [] : [BigInt(list.length)],
      rawData: raw,
    }),
  );
  return name;
}

function attributeProto(name: string, attribute: OnnxAttribute): AttributeProto {
  const { INT, FLOAT, STRING, INTS } = AttributeProto_AttributeType;
  if ("int" in attribute) return create(AttributeProtoSchema, { name, type: INT, i: BigInt(attribute.int) });
  if ("float" in attribute) return create(AttributeProtoSchema, { name, type: FLOAT, f: attribute.float });
  if ("string" in attribute) return create(AttributeProtoSchema, { name, type: STRING, s: new TextEncoder().encode(attribute.string) });
  return create(AttributeProtoSchema, { name, type: INTS, ints: attribute.ints.map(BigInt) });
}

/** Describes values. Values of one dtype and shape share the description, since most of a graph's values do. */
function valueInfos(): (name: string, value: Value) => ValueInfoProto {
  const types = new Map<string, TypeProto>();
  return (name, value) => {
    const key = show(value);
    const known = types.get(key);
    const type = known ?? create(TypeProtoSchema, { tensorType: { elemType: ONNX_DTYPES[value.dtype], shape: shapeProto(value.shape) } });
    if (!known) types.set(key, type);
    return create(ValueInfoProtoSchema, { name, type });
  };
}

function shapeProto(shape: Shape) {
  const dim = shape.map((size) => ({
    value: typeof size === "number" ? { case: "dimValue" as const, value: BigInt(size) } : { case: "dimParam" as const, value: size },
  }));
  return { dim };
}

function tensorProto(initializer: Initializer, locate: (file: string) => string): TensorProto {
  const { value } = initializer;
  const dims = value.shape.map((size) => {
    invariant(typeof size === "number", `initializer ${value.name} has a named size`);
    return BigInt(size);
  });
  const common = { name: value.name, dataType: ONNX_DTYPES[value.dtype], dims };
  if (initializer.kind === "inline") {
    const { buffer, byteOffset, byteLength } = initializer.tensor.data;
    return create(TensorProtoSchema, { ...common, rawData: new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength) });
  }
  const { file, offset, bytes } = initializer.region;
  const externalData = [
    { key: "location", value: locate(file) },
    { key: "offset", value: String(offset) },
    { key: "length", value: String(bytes) },
  ];
  return create(TensorProtoSchema, { ...common, externalData, dataLocation: TensorProto_DataLocation.EXTERNAL });
}
