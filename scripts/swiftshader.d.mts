export function swiftshader(): {
  readonly missing: string | undefined;
  readonly env: { readonly VK_DRIVER_FILES: string; readonly XDG_RUNTIME_DIR: string };
  readonly libraries: string | undefined;
};
