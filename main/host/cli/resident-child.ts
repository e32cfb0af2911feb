import { residentWith } from '../../runtime/resident.ts';

/* A process that does nothing but run one model: what it holds then is what the model costs. Arguments: file, input size, threads. */

const [file, size, threads] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
process.stdout.write(String(await residentWith(file, size, threads)));
