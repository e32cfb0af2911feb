export function packProgram(options?: {
  unpacked?: boolean;
  testRuntime?: boolean;
  output?: string;
  electronDist?: string;
}): Promise<string[]>;
