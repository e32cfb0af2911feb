import { asAppError } from '../../../main/contract/errors.ts';
import { packBackup } from '../../../main/core/backup-file.ts';
import { backupHead } from './backup-head.ts';

/* A process that packs a backup under the limits that it is started with, and tells what was refused. Arguments: home, file. */

const [home, file] = process.argv.slice(2);
try {
  await packBackup({
    home: home!,
    database: `${home}/none`,
    ofCopy: new Map(),
    file: file!,
    head: backupHead(),
    secrets: {},
    password: '',
  });
} catch (error) {
  process.stdout.write(JSON.stringify(asAppError(error, 'pack').toWire('pack')));
}
