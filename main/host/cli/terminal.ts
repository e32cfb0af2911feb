import { createInterface } from 'node:readline';
import { AppError } from '../../contract/errors.ts';

/** The password of an account: from MEKIKI_PASSWORD, else asked for on the terminal without echo. */
export async function readPassword(userName: string): Promise<string> {
  const given = process.env['MEKIKI_PASSWORD'];
  if (given) return given;
  if (!process.stdin.isTTY) {
    throw new AppError('INVALID_INPUT', {
      what: 'password',
      problem: `none was given for ${userName}; set MEKIKI_PASSWORD or run in a terminal`,
    });
  }
  return readSecret(`Password of ${userName}`);
}

/** Asked for on the terminal without echo. */
export async function readSecret(what: string): Promise<string> {
  process.stderr.write(`${what}: `);
  const lines = createInterface({ input: process.stdin, terminal: true });
  // readline echoes through this private hook; hiding it keeps the password off the screen.
  (lines as unknown as { _writeToOutput: () => void })._writeToOutput = () => {};
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.question('', resolve);
      lines.on('SIGINT', () => reject(new AppError('CANCELLED')));
    });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
