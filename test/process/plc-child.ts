import { openPlc } from '../helpers/plc.ts';

/* A PLC in a process of its own: three parts, with the time that each result took. */
using plc = await openPlc(Number(process.argv[2]));
const told: object[] = [];
for (let n = 0; n < 3; n += 1) {
  await plc.until('ready', (s) => s.triggerReady === true);
  const begun = performance.now();
  const signals = await plc.part();
  told.push({ ms: performance.now() - begun, signals });
}
console.log(JSON.stringify(told));
