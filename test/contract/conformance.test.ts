import { describeConformance } from './conformance-suite.ts';
import { transports } from './transports.ts';

for (const [name, connect] of Object.entries(transports)) describeConformance(name, connect);
