import { people } from './0010-people.ts';
import { stations } from './0020-stations.ts';
import { parts } from './0030-parts.ts';
import { labels } from './0040-labels.ts';
import { knowledge } from './0050-knowledge.ts';
import { candidates } from './0060-candidates.ts';
import { audit } from './0070-audit.ts';
import { jobs } from './0080-jobs.ts';
import { alarms } from './0090-alarms.ts';
import { suspects } from './0100-suspects.ts';
import { imported } from './0200-imported.ts';
import { auditHeads } from './0210-audit-heads.ts';
import { lineOutput } from './0300-line-output.ts';
import { lineSettings } from './0500-line-settings.ts';
import { shadow } from './0600-shadow.ts';
import { partHours } from './0700-part-hours.ts';
import { signInAttempts } from './0710-sign-in-attempts.ts';
import { jobRequests } from './0730-job-requests.ts';
import { recheck } from './0760-recheck.ts';
import { checkedHours } from './0800-checked-hours.ts';
import { labelHistory } from './0870-label-history.ts';
import { studies } from './0890-studies.ts';
import { secondLabels } from './0900-second-labels.ts';
import { golden } from './0910-golden.ts';
import { labelsRecent } from './0920-labels-recent.ts';
import { quickCodes } from './0930-quick-codes.ts';
import { passwordDue } from './0960-password-due.ts';
import { labelsWithoutPlace } from './0970-labels-without-place.ts';
import { activationsTold } from './1000-activations-told.ts';
import { labelBoxes } from './1040-label-boxes.ts';
import { retention } from './1100-retention.ts';
import { labelsSentBack } from './1110-labels-sent-back.ts';
import { goldenRefresh } from './1120-golden-refresh.ts';
import { goldenBoxes } from './1130-golden-boxes.ts';
import { auditSubjects } from './1140-audit-subjects.ts';
import type { Migration } from './migration.ts';

export const migrations: readonly Migration[] = [
  people,
  stations,
  parts,
  labels,
  knowledge,
  candidates,
  audit,
  jobs,
  alarms,
  suspects,
  imported,
  auditHeads,
  lineOutput,
  lineSettings,
  shadow,
  partHours,
  signInAttempts,
  jobRequests,
  recheck,
  checkedHours,
  labelHistory,
  studies,
  secondLabels,
  golden,
  labelsRecent,
  quickCodes,
  passwordDue,
  labelsWithoutPlace,
  activationsTold,
  labelBoxes,
  retention,
  labelsSentBack,
  goldenRefresh,
  goldenBoxes,
  auditSubjects,
];
