/** @file Names of files in messages, without a file system. */

/** The file `name` in the folder `directory`. */
export function fileIn(directory: string, name: string): string {
  const folder = directory.replace(/\/+$/, "");
  return directory === "" || directory === "." ? name : `${folder}/${name}`;
}
