export function packProgram(options?: {
  targets?: string[];
  testRuntime?: boolean;
  output?: string;
  electronDist?: string;
}): Promise<string[]>;
export function unpackedIn(output: string): string;
