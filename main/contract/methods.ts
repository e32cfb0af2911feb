import { z } from 'zod';
import {
  alarmSchema,
  backboneSchema,
  BOXES_AT_MOST,
  cameraConfigSchema,
  candidateSchema,
  changedVerdictSchema,
  checkedSchema,
  criteriaSchema,
  defectClassSchema,
  foundCameraSchema,
  jobSchema,
  gateSchema,
  knowledgeSchema,
  languageSchema,
  lineSettingsSchema,
  lineOutputSchema,
  lineStatusSchema,
  partSchema,
  plannedActivationSchema,
  queueItemSchema,
  recipeSchema,
  regionSchema,
  accountNameSchema,
  roleSchema,
  roleSets,
  sha256Schema,
  templateSchema,
  testSignalsSchema,
  stationSchema,
  userSchema,
  verdictSchema,
  type Role,
} from './domain.ts';
import { id } from './domain/values.ts';
import { bundleAboutSchema } from './bundle.ts';
import { problemSchema } from './errors.ts';
import { plantEventsSchema, plantEventsStateSchema } from './plant-events.ts';
import { previewedSchema, previewPictureSchema, previewQuestionSchema } from './preview.ts';
import { unpackedUpdateSchema, updateAboutSchema } from './update.ts';
import { rangeProblem } from './report-period.ts';
import { retentionPreviewSchema, retentionSchema } from './retention.ts';
import { shiftStartsSchema } from './shifts.ts';
import { countedSchema, studyNextSchema, studyReportSchema, studySchema } from './study.ts';

/*
 * The one list of what a window, a browser tab or the command line may ask of the core.
 * Names are `area.verb`. `roles: 'anyone'` works without signing in. Input is parsed on the server, always.
 */

interface MethodDefinition {
  roles: readonly Role[] | 'anyone';
  input: z.ZodType;
  output: z.ZodType;
}

const { workers, technicians, supervisors, configurers, auditors } = roleSets;
const anyone = 'anyone' as const;

const none = z.object({});
const path = z.string().min(1).max(4096);
const password = z.string().min(1).max(256);
const newPassword = z.string().min(8).max(256);
/** Asks for the person, not for the session that was left open. */
const signature = z.object({ password, meaning: z.string().trim().min(1).max(500) });
const page = { limit: z.number().int().min(1).max(500).default(100), before: z.number().int().optional() };
const method = <R extends MethodDefinition['roles'], I extends z.ZodType, O extends z.ZodType>(
  roles: R,
  input: I,
  output: O,
) => ({ roles, input, output }) as const;

export const sessionStateSchema = z.object({
  version: z.string(),
  /** No supervisor exists yet: the first-start page is due. */
  firstStart: z.boolean(),
  demo: z.boolean(),
  /** Set in a demo home only: the accounts it was made with, so that a newcomer can go round the loop. */
  demoAccounts: z.array(z.object({ name: z.string(), password: z.string(), role: roleSchema })),
  language: languageSchema,
  user: userSchema.nullable(),
  /** The password was given to the user by somebody else: until it is changed nothing can be done that needs a role. */
  passwordDue: z.boolean(),
  testRuntime: z.boolean(),
  /** By the clock of the core's PC, which every time that it tells is of; a browser may be on another one. */
  now: z.iso.datetime(),
});

/** How the data folder fares. */
export const homeStateSchema = z.object({
  freeBytes: z.number(),
  totalBytes: z.number(),
  /** `low`: nothing is learnt; `very-low`: no picture is stored either. Inspection goes on in any case. */
  space: z.enum(['enough', 'low', 'very-low']),
  /** So far does this PC's clock lie before a time that was seen already; 0: it does not. */
  clockBehindSeconds: z.number().int(),
  /** The last backup that was verified whole; null: none yet. */
  lastBackup: z.object({ at: z.iso.datetime(), file: z.string(), bytes: z.number().int() }).nullable(),
  /** The keychain was asked for (--keychain), and the key of this home lies in a file all the same: it was made so. */
  keyInFile: z.boolean(),
});

/** A damaged database. */
const damageSchema = z.object({
  /** In SQLite's words. */
  problems: z.array(z.string()),
  /** Tables of which something is lost: rows that could be read, and rows that are left out since they name a lost one. */
  tables: z.array(
    z.object({ name: z.string(), read: z.number().int(), unreadable: z.boolean(), dangling: z.number().int() }),
  ),
  /** Why it cannot be repaired, and only a backup helps; null: it can. */
  hopeless: z.string().nullable(),
  /** Who may ask for the repair: engineers and supervisors that this installation made. */
  accounts: z.array(z.object({ name: z.string(), role: roleSchema })),
  /** Folder with the damaged file, once it is repaired. */
  kept: z.string().nullable(),
});
export type Damage = z.infer<typeof damageSchema>;

const trustSchema = z.object({
  installation: z.string(),
  installations: z.array(z.object({ key: z.string(), name: z.string(), by: z.string(), at: z.iso.datetime() })),
});

/** How long a search for candidates takes (main/core/candidates.ts). */
export const budgetSchema = z.enum(['quick', 'lunch', 'overnight']);
export type Budget = z.infer<typeof budgetSchema>;

/** Whether whoever made a model may approve it: `auto` forbids it where another supervisor exists. */
export const approvalRuleSchema = z.enum(['auto', 'always', 'never']);

/** Images that judge and never teach; null: the station has none. */
export const goldenSchema = z
  .object({
    images: z.number().int(),
    perClass: z.array(z.object({ classId: id, images: z.number().int() })),
    sha256: sha256Schema,
    /** Who added to it last. */
    by: z.string(),
    at: z.iso.datetime(),
    uses: z.number().int(),
    /** It was used so often that it has chosen among the candidates. */
    refreshDue: z.boolean(),
  })
  .nullable();

const goldenFillingSchema = z.object({
  on: z.boolean(),
  /** Pictures of sets that were retired. */
  retired: z.number().int(),
  perClass: z.array(
    z.object({
      classId: id,
      /** Labelled, and not learnt yet. */
      fresh: z.number().int(),
      most: z.number().int(),
      few: z.boolean(),
      /** In the set already. */
      golden: z.number().int(),
    }),
  ),
});

/** Centre and control limits of a chart. */
const driftLimitsSchema = z.object({ centre: z.number(), low: z.number(), high: z.number() });

export const methods = {
  'session.state': method(anyone, none, sessionStateSchema),
  'session.firstStart': method(
    anyone,
    z.object({ language: languageSchema, name: accountNameSchema, password: newPassword }),
    sessionStateSchema,
  ),
  'session.startDemo': method(anyone, z.object({ language: languageSchema }), jobSchema),
  /** Accounts that can sign in: a touch screen offers them by name. */
  'session.accounts': method(anyone, none, z.array(userSchema.pick({ name: true, role: true }))),
  'session.signIn': method(anyone, z.object({ name: z.string().min(1).max(64), password }), sessionStateSchema),
  /** An operator's badge or PIN; whoever was signed in here is out. WRONG_CODE, TOO_MANY_CODES. */
  'session.quick': method(anyone, z.object({ code: z.string().min(4).max(128) }), sessionStateSchema),
  'session.signOut': method(anyone, none, sessionStateSchema),
  /** Somebody is at the window: without it a window's session ends after a while (`main/core/idle.ts`). */
  'session.active': method(anyone, none, none),
  'session.changePassword': method(roleSchema.options, z.object({ password, newPassword }), none),
  /** With the code of `users.makeRecovery`, once: a supervisor who has lost the password gets a new key. RECOVERY_REFUSED, TOO_MANY_RECOVERY_CODES. */
  'session.recover': method(
    anyone,
    z.object({ code: z.string().min(1).max(200), name: z.string().min(1).max(64), newPassword }),
    none,
  ),
  'session.setLanguage': method(anyone, z.object({ language: languageSchema }), sessionStateSchema),

  'users.list': method([...technicians, 'auditor'] as const, none, z.array(userSchema)),
  /** `oneTime`: its owner has to choose another password before anything else. */
  'users.add': method(
    supervisors,
    z.object({
      name: accountNameSchema,
      role: roleSchema,
      password: newPassword,
      oneTime: z.boolean().default(false),
    }),
    userSchema,
  ),
  /** Gives the account a new key; `password` is the supervisor's own. */
  'users.resetPassword': method(
    supervisors,
    z.object({ userId: id, newPassword, password, oneTime: z.boolean().default(false) }),
    userSchema,
  ),
  /** A code to keep outside the PC; an earlier one is void. Only its hash is stored. */
  'users.makeRecovery': method(
    supervisors,
    z.object({ password }),
    z.object({ code: z.string(), installation: z.string(), at: z.iso.datetime() }),
  ),
  /** Badge or PIN of an operator; null takes it away. */
  'users.setQuickCode': method(
    supervisors,
    z.object({ userId: id, code: z.string().trim().min(4).max(128).nullable() }),
    userSchema,
  ),
  'users.disable': method(supervisors, z.object({ userId: id }), userSchema),

  /**
   * A consistent copy of the whole data folder into a new file while everything goes on: a job. The own password locks the root key that is in it, and
   * whoever opens that can certify supervisors: nobody else makes one.
   */
  'home.backup': method(supervisors, z.object({ file: path, password }), jobSchema),
  'home.state': method(anyone, none, homeStateSchema),
  /** Of a home whose database is damaged: what is wrong, and what a repair would lose. null: it is whole. */
  'home.damage': method(anyone, none, damageSchema.nullable()),
  /**
   * Makes a new database of what can be read; the damaged one is kept beside it, and the trail tells of it. An engineer or supervisor whose account can
   * still be read proves it by the password. CONFLICT where nothing is damaged, WRONG_PASSWORD, TOO_MANY_ATTEMPTS.
   */
  'home.repair': method(anyone, z.object({ name: z.string().min(1).max(64), password }), damageSchema),

  /** GigE Vision cameras that answer on the networks of this PC now. A second or so. */
  'cameras.find': method(
    configurers,
    z.object({
      /** Asked directly as well: cameras that no broadcast reaches. */
      addresses: z.array(z.ipv4()).max(64).default([]),
    }),
    z.array(foundCameraSchema),
  ),

  /**
   * Lets this browser tab read the USB camera of a line that runs, or that is being set up: the ticket is for one WebSocket at /feed/<ticket>, within 30 seconds.
   * CONFLICT: the line is stopped, or another page reads already. (The desktop reads by itself.)
   */
  'cameras.feed': method(workers, z.object({ stationId: id }), z.object({ ticket: z.string() })),

  /**
   * What the station's camera sees now, set as given: for whoever sets it up, asked again for each picture. No part is taken, and the camera is left as it was, some
   * seconds after the last call. `line-runs`: the camera is the line's, and is not touched. CAMERA_SHOWN: another window looks.
   */
  'cameras.preview': method(
    configurers,
    previewQuestionSchema.extend({ stationId: id }),
    z.object({
      state: z.enum([...previewedSchema.shape.state.options, 'line-runs']),
      problem: problemSchema.nullable(),
      /** JPEG. null: none is newer than `after`. */
      picture: previewPictureSchema(z.base64()).nullable(),
    }),
  ),
  'cameras.endPreview': method(configurers, z.object({ stationId: id }), none),

  'stations.list': method(anyone, none, z.array(stationSchema)),
  'stations.add': method(
    configurers,
    z.object({
      name: z.string().min(1).max(80),
      camera: cameraConfigSchema,
      recipe: recipeSchema.optional(),
      criteria: criteriaSchema.optional(),
      backboneId: id.optional(),
      threads: z.number().int().min(1).max(64).optional(),
      line: lineSettingsSchema.optional(),
      lineOutput: lineOutputSchema.optional(),
    }),
    stationSchema,
  ),
  'stations.update': method(
    configurers,
    z.object({
      stationId: id,
      name: z.string().min(1).max(80).optional(),
      camera: cameraConfigSchema.optional(),
      recipe: recipeSchema.optional(),
      criteria: criteriaSchema.optional(),
      threads: z.number().int().min(1).max(64).optional(),
      line: lineSettingsSchema.optional(),
      lineOutput: lineOutputSchema.optional(),
      /** The next update learns with it, from all labels; the active model inspects on, and what was learnt with the one before is kept. */
      backboneId: id.optional(),
    }),
    stationSchema,
  ),

  'line.status': method(anyone, z.object({ stationId: id }), lineStatusSchema),
  'line.start': method(anyone, z.object({ stationId: id }), lineStatusSchema),
  /** A part now, where the station's trigger source is software. `taken` false: too soon after the last one. */
  'line.trigger': method(anyone, z.object({ stationId: id }), z.object({ taken: z.boolean() })),
  /**
   * Brings the line's process up without starting the line, so that its line output can be watched, and puts signals out by hand for ten seconds.
   * CONFLICT while the line runs, or without a line output.
   */
  'line.testOutput': method(configurers, z.object({ stationId: id, signals: testSignalsSchema }), z.object({})),
  'line.stop': method(anyone, z.object({ stationId: id }), lineStatusSchema),

  'parts.recent': method(
    anyone,
    z.object({ stationId: id, ...page, verdict: verdictSchema.optional() }),
    z.array(partSchema),
  ),
  'parts.get': method(anyone, z.object({ partId: z.number().int() }), partSchema),
  /** GOLDEN_IMAGE: its picture judges, so it can have no label. */
  'parts.toQueue': method(anyone, z.object({ partId: z.number().int() }), queueItemSchema),
  /** Weights 0..255 of the class activation map of the part's deciding class, row-major, over the whole frame. */
  'parts.heatMap': method(
    anyone,
    z.object({ partId: z.number().int() }),
    z.object({
      width: z.number().int(),
      height: z.number().int(),
      weights: z.array(z.number().int().min(0).max(255)),
      region: regionSchema,
    }),
  ),

  /** Newest first; of long lists the last ones, and all that nobody has acknowledged. */
  'alarms.list': method(
    anyone,
    z.object({ stationId: id, openOnly: z.boolean().default(false) }),
    z.array(alarmSchema),
  ),
  /** Somebody has seen it and looks into it. Until then the same measure raises no other alarm. CONFLICT: `revalidation`, which `candidates.recheck` ends. */
  'alarms.acknowledge': method(workers, z.object({ alarmId: z.number().int() }), alarmSchema),
  /** What the charts know: parts of the reference so far, of how many, and the parts watched against it. */
  'alarms.state': method(
    anyone,
    z.object({ stationId: id }),
    z.object({ reference: z.number().int(), needed: z.number().int(), watched: z.number().int() }),
  ),

  'classes.list': method(anyone, none, z.array(defectClassSchema)),
  'classes.create': method(
    technicians,
    z.object({
      names: z.object({ en: z.string().max(80), ja: z.string().max(80) }),
      hotKey: z.string().length(1).nullable().default(null),
    }),
    defectClassSchema,
  ),
  /** Id, key and colour stay, so whatever names the class by its id means it still. A name that is left out stays; an empty one becomes the other language's. */
  'classes.rename': method(
    technicians,
    z.object({
      classId: id,
      names: z.object({ en: z.string().max(80).optional(), ja: z.string().max(80).optional() }),
    }),
    defectClassSchema,
  ),

  /** All labels of a class become another's, at every station, and what others gave of it; the class is retired. The next update learns it so. */
  'classes.merge': method(technicians, z.object({ from: id, into: id }), defectClassSchema),
  /** No new labels of this class from now on; what was learnt of it stays until it is forgotten. */
  'classes.retire': method(technicians, z.object({ classId: id }), defectClassSchema),

  'queue.list': method(
    technicians,
    z.object({ stationId: id, limit: z.number().int().min(1).max(10_000).default(200) }),
    z.object({ total: z.number().int(), items: z.array(queueItemSchema) }),
  ),
  'queue.skip': method(technicians, z.object({ partId: z.number().int() }), none),
  'queue.count': method(anyone, z.object({ stationId: id }), z.object({ total: z.number().int() })),

  'labels.create': method(
    technicians,
    z.object({
      partIds: z.array(z.number().int()).min(1).max(500),
      classId: id,
      /** Where the defect is, in the rotated frame; with several parts the same places count for each. Empty: nobody has marked it; a part that the queue asks about keeps the marks of its label. */
      boxes: z.array(regionSchema).max(BOXES_AT_MOST).default([]),
    }),
    z.object({ labelled: z.number().int(), undoId: z.number().int() }),
  ),
  /**
   * Takes labels away: these pictures teach nothing from the next update on; with `toQueue` the parts wait in the queue for another label.
   * `labels.undo` gives them back. NOT_FOUND: one has no label. GOLDEN_IMAGE: one could not be labelled again.
   */
  'labels.leaveOut': method(
    technicians,
    z.object({ partIds: z.array(z.number().int()).min(1).max(500), toQueue: z.boolean().default(false) }),
    z.object({ leftOut: z.number().int(), undoId: z.number().int() }),
  ),
  /** Labelled pictures that look almost the same, in groups: those under several classes first, then the largest. */
  'labels.nearDuplicates': method(
    technicians,
    z.object({ stationId: id, limit: z.number().int().min(1).max(1000).default(100) }),
    z.object({
      /** Labelled pictures that were compared, and those that were not: no update has looked at them, they are flat, or too many are newer. */
      compared: z.number().int(),
      notCompared: z.number().int(),
      /** Groups, also those beyond the limit. */
      total: z.number().int(),
      groups: z.array(
        z.object({
          /** Pictures in it, also those that are not listed. */
          size: z.number().int(),
          /** By class, the oldest label first. */
          parts: z.array(
            z.object({ partId: z.number().int(), imageSha: sha256Schema, classId: id, at: z.iso.datetime() }),
          ),
        }),
      ),
    }),
  ),
  /** The caller's labels and skips at a station that can be taken back, newest first. */
  'labels.history': method(
    technicians,
    z.object({ stationId: id, limit: z.number().int().min(1).max(200).default(50) }),
    z.array(
      z.object({
        undoId: z.number().int(),
        at: z.iso.datetime(),
        kind: z.enum(['label', 'skip', 'leave-out', 'send-back']),
        /** Of what was left out or sent back, the first one's. null: skipped, or noted before classes were. */
        classId: id.nullable(),
        parts: z.array(z.object({ partId: z.number().int(), imageSha: sha256Schema.nullable() })),
      }),
    ),
  ),
  /**
   * Takes back the caller's last label or skip that has not been taken back yet; with `downTo`, all of them from the newest down to that
   * one, or none; with `stationId`, of those of that station. `left`: parts that stay as they are, since somebody else decided on them
   * afterwards, or because their class of before is retired or their picture has come into the golden set. NOT_FOUND: that one was taken back already, is
   * somebody else's or another station's.
   */
  'labels.undo': method(
    technicians,
    z.object({ stationId: id.optional(), downTo: z.number().int().optional() }),
    z.object({ partIds: z.array(z.number().int()), left: z.number().int() }),
  ),
  /** Labelled parts that nobody has called a second time, without those that the caller labelled; newest labels first, and no word of them. */
  'labels.secondQueue': method(
    technicians,
    z.object({ stationId: id, limit: z.number().int().min(1).max(500).default(100) }),
    z.object({
      total: z.number().int(),
      parts: z.array(
        z.object({
          partId: z.number().int(),
          at: z.iso.datetime(),
          imageSha: sha256Schema.nullable(),
          width: z.number().int(),
          height: z.number().int(),
        }),
      ),
    }),
  ),
  /** What the caller takes a labelled part for; where it differs, the part comes back into the queue as a doubted label. */
  'labels.second': method(
    technicians,
    z.object({ partId: z.number().int(), classId: id }),
    z.object({ agrees: z.boolean(), firstClassId: id }),
  ),
  /** How far first and second labels agree. */
  'labels.agreement': method(
    anyone,
    z.object({ stationId: id }),
    z.object({
      /** Parts that wait for the caller's second opinion. */
      waiting: z.number().int(),
      same: countedSchema,
      kappa: z.number().nullable(),
      interval: z.tuple([z.number(), z.number()]).nullable(),
      /** Which classes were taken for each other, most often first. */
      differing: z.array(z.object({ classIds: z.tuple([id, id]), parts: z.number().int() })),
    }),
  ),
  /** Labels of a station, newest first. */
  'labels.list': method(
    technicians,
    z.object({
      stationId: id,
      classId: id.optional(),
      limit: z.number().int().min(1).max(10_000).default(200),
      /** Only those that follow this one: the next page. */
      before: z.object({ at: z.iso.datetime(), partId: z.number().int() }).optional(),
      /** Of these pictures alone, in this order and whatever the limit: a station may have more labels than one list. */
      images: z.array(sha256Schema).min(1).max(500).optional(),
    }),
    z.array(
      z.object({
        partId: z.number().int(),
        imageSha: sha256Schema,
        classId: id,
        /** As they were drawn with the label. */
        boxes: z.array(regionSchema),
        userId: id,
        userName: z.string(),
        at: z.iso.datetime(),
        /** The newest knowledge has learnt it so. */
        learnt: z.boolean(),
      }),
    ),
  ),
  /** What the part is recognised by, cut out of a stored picture; stored by putting it into the recipe. Region in the turned frame. */
  'stations.teachPart': method(
    configurers,
    z.object({
      stationId: id,
      /** Default: the newest part with a picture. */
      partId: z.number().int().optional(),
      region: regionSchema,
      rotation: recipeSchema.shape.rotation.optional(),
    }),
    templateSchema,
  ),
  /** Events for the plant's other systems. A password is never given back. */
  'events.get': method(
    configurers,
    none,
    z.object({ config: plantEventsSchema, hasPassword: z.boolean(), state: plantEventsStateSchema }),
  ),
  /** `password` left out: as it is. DEMO_FORBIDS. */
  'events.set': method(
    configurers,
    z.object({ config: plantEventsSchema, password: z.string().max(256).optional() }),
    z.object({ config: plantEventsSchema, hasPassword: z.boolean(), state: plantEventsStateSchema }),
  ),
  'labels.summary': method(
    anyone,
    z.object({ stationId: id }),
    z.object({
      /** Labels since the last update of the knowledge. */
      fresh: z.number().int(),
      /** Labels that the newest knowledge has learnt are gone, or teach other tiles: an update is due although none is fresh. */
      takenAway: z.boolean(),
      /** Backbone or recipe are others than those that the newest knowledge was learnt with: the same. */
      otherViews: z.boolean(),
      perClass: z.array(z.object({ classId: id, labelled: z.number().int(), fresh: z.number().int() })),
      /** Labelled defects that teach nothing until their place is drawn: the recipe has tiles, and nothing tells which one. */
      withoutPlace: z.number().int(),
      /** An update finds enough to learn from: labels of two classes, ten good parts or more, or what other stations gave. */
      canLearn: z.boolean(),
    }),
  ),

  /** Images of a folder, `<class>/*` when asLabels. Runs as a job. */
  'import.start': method(
    technicians,
    z.object({ stationId: id, path: z.string().min(1), asLabels: z.boolean() }),
    jobSchema,
  ),

  'knowledge.show': method(anyone, z.object({ stationId: id }), knowledgeSchema.nullable()),
  /** Newest first, by the order in which it was learnt. */
  'knowledge.list': method(anyone, z.object({ stationId: id }), z.array(knowledgeSchema)),
  'knowledge.update': method(technicians, z.object({ stationId: id }), jobSchema),
  /** Un-learns an image: label and features go, and the knowledge is solved anew without it. */
  'knowledge.forget': method(technicians, z.object({ stationId: id, imageSha: sha256Schema }), jobSchema),
  /** The same for all images of a class at a station. If no station has labels of it any more the class is retired, and what others gave of it is left out. */
  'knowledge.forgetClass': method(technicians, z.object({ stationId: id, classId: id }), jobSchema),
  /** Adds what another station of this home has learnt from images of its own, in place of what it gave before. */
  'knowledge.merge': method(technicians, z.object({ stationId: id, fromStationId: id }), jobSchema),
  /** Writes the station's sums per class into a file: for another station with the same backbone, without any image. */
  'knowledge.export': method(technicians, z.object({ stationId: id, file: z.string().min(1) }), jobSchema),
  /** Adds such a file to what the station knows, in place of an earlier one of the same station, and solves anew. */
  'knowledge.import': method(technicians, z.object({ stationId: id, file: z.string().min(1) }), jobSchema),

  /** Sums all images anew; the job's result names the classes whose kept sums differ: none, short of a fault. */
  'knowledge.check': method(technicians, z.object({ stationId: id }), jobSchema),

  'jobs.list': method(anyone, none, z.array(jobSchema)),
  'jobs.cancel': method(technicians, z.object({ jobId: id }), jobSchema),
  /** Ends the work and keeps what it has done, over restarts too. CONFLICT: it cannot go on where it was, or has ended. */
  'jobs.pause': method(technicians, z.object({ jobId: id }), jobSchema),
  /** Queues it again. CONFLICT: it is not paused. */
  'jobs.resume': method(technicians, z.object({ jobId: id }), jobSchema),
  /** Ends a search, paused or not, and queues the finishing of the best that it has found. CONFLICT: it is at no search. */
  'jobs.finish': method(technicians, z.object({ jobId: id }), jobSchema),

  'candidates.create': method(
    technicians,
    z.object({
      stationId: id,
      budget: budgetSchema.default('quick'),
      /** In place of a named one. */
      timeBudgetS: z.number().min(10).max(86_400).optional(),
    }),
    jobSchema,
  ),
  /** Newest first. In brief: without the evidence's `sample`, and with `confusion` and `changed` of those alone that were submitted; `candidates.show` tells all. */
  'candidates.list': method(anyone, z.object({ stationId: id }), z.array(candidateSchema)),
  'candidates.show': method(anyone, z.object({ candidateId: id }), candidateSchema),
  /** Who gave the labels that its own knowledge learnt, most first (main/core/labelled-by.ts). */
  'candidates.labelledBy': method(
    anyone,
    z.object({ candidateId: id }),
    z.object({
      source: z.enum(['learnt', 'now', 'elsewhere']),
      people: z.array(z.object({ name: z.string(), parts: z.number().int() })),
    }),
  ),
  'candidates.submit': method(technicians, z.object({ candidateId: id }), candidateSchema),
  /** Judges the newest archived frames with a candidate that is not approved and with the active model, in the trainer: a job. */
  'candidates.shadow': method(
    technicians,
    z.object({
      candidateId: id,
      frames: z.number().int().min(1).max(20_000).default(500),
      timeBudgetS: z.number().positive().max(28_800).default(600),
    }),
    jobSchema,
  ),
  /**
   * Measures a model on this PC once more: decisions and time, by the limits of its station. Where it passes, the reminder to look at the model again is over. A job.
   */
  'candidates.recheck': method(supervisors, z.object({ candidateId: id }), jobSchema),
  'golden.show': method(anyone, z.object({ stationId: id }), goldenSchema),
  /** What an approval looks at beside the evidence. `due`: the candidate was not tried on the set as it is now. Nothing, where the station never had a set; until a retired one is followed by a new one, what that one said, or that a waiver is needed. */
  'golden.gates': method(
    anyone,
    z.object({ candidateId: id }),
    z.object({ due: z.boolean(), gates: z.array(gateSchema) }),
  ),
  /**
   * Takes `<path>/<class>/*` into the station's golden set, for good; what was learnt, or is nearly like it, is skipped by name. With `newClasses` a
   * folder of a name that no class has makes one. A job.
   */
  'golden.add': method(
    configurers,
    z.object({ stationId: id, path, newClasses: z.boolean().default(false) }),
    jobSchema,
  ),
  /**
   * Of newly labelled pictures a share goes to the golden set with the next update, in place of being learnt (`main/core/golden-filling.ts`). `most`: so many of a class
   * at most, look-alikes of learnt ones stay; `few`: it has too few parts to give any away. On where the station has a set, unless somebody chose.
   */
  'golden.filling': method(anyone, z.object({ stationId: id }), goldenFillingSchema),
  'golden.setFilling': method(configurers, z.object({ stationId: id, on: z.boolean() }), goldenFillingSchema),
  /**
   * Retires the golden set: its pictures become labels, to be learnt with the next update and never to judge again, and a new set is filled from what is labelled next. NOT_FOUND: there is none.
   * CONFLICT: it is being judged, or the knowledge is being updated.
   */
  'golden.refresh': method(
    configurers,
    z.object({ stationId: id }),
    /** Pictures that became labels, and those that could not: their class is retired. */
    z.object({ returned: z.number().int(), left: z.number().int() }),
  ),
  /** Judges the golden set with a candidate, and counts the use: a job. */
  'candidates.golden': method(technicians, z.object({ candidateId: id }), jobSchema),
  'candidates.approvalRule': method(
    [...technicians, 'auditor'] as const,
    none,
    z.object({ twoPersons: approvalRuleSchema }),
  ),
  'candidates.setApprovalRule': method(
    supervisors,
    z.object({ twoPersons: approvalRuleSchema }),
    z.object({ twoPersons: approvalRuleSchema }),
  ),
  'candidates.approve': method(
    supervisors,
    z.object({
      candidateId: id,
      password,
      meaning: z.string().trim().min(1).max(500),
      waiver: z.string().min(1).max(2000).nullable().default(null),
      seenChanged: z.array(changedVerdictSchema.shape.imageSha).default([]),
    }),
    candidateSchema,
  ),
  /** Takes the approval of an approved one away, which is signed as it was given: with the password. SIGNATURE_NEEDED. */
  'candidates.reject': method(
    supervisors,
    z.object({
      candidateId: id,
      reason: z.string().trim().min(1).max(2000),
      password: password.nullable().default(null),
    }),
    candidateSchema,
  ),

  /** The first use of an approved model is signed by its approval; going back to one that inspected before is signed here. SIGNATURE_NEEDED. */
  'models.activate': method(
    supervisors,
    z.object({ candidateId: id, signature: signature.nullable().default(null) }),
    z.object({ active: candidateSchema, previous: id.nullable() }),
  ),
  /** Once, between two parts at that time or soon after, in place of what was planned for the station, signed where models.activate is; void as soon as another model is made active. null: nothing is planned any more. */
  'models.plan': method(
    supervisors,
    z.object({
      stationId: id,
      activation: z
        .object({ candidateId: id, at: z.iso.datetime(), signature: signature.nullable().default(null) })
        .nullable(),
    }),
    plannedActivationSchema.nullable(),
  ),
  'models.planned': method(anyone, z.object({ stationId: id }), plannedActivationSchema.nullable()),
  /** The model that models.rollback brings back; null: none. */
  'models.previous': method(anyone, z.object({ stationId: id }), id.nullable()),
  /** `candidateId`: the one that was signed for, refused as CONFLICT where it would be another by now; null: whichever it is. */
  'models.rollback': method(
    supervisors,
    z.object({ stationId: id, signature, candidateId: id.nullable().default(null) }),
    z.object({ active: candidateSchema, previous: id.nullable() }),
  ),

  /** Writes a model with its evidence and approval into one signed file (format: main/audit/bundle-file.ts). */
  'bundles.export': method(
    technicians,
    z.object({ candidateId: id, file: path }),
    z.object({ file: z.string(), bytes: z.number().int(), sha256: sha256Schema, installation: z.string() }),
  ),
  /** What such a file is and who made it; nothing of it is taken. BUNDLE_ALTERED, NOT_FOUND. */
  'bundles.verify': method(configurers, z.object({ file: path }), bundleAboutSchema),
  /** Takes such a file of a trusted installation in as a candidate, which still needs an approval here. */
  'bundles.import': method(configurers, z.object({ stationId: id, file: path }), candidateSchema),
  /** This home's own key, and the installations whose bundles it takes. */
  'bundles.trusted': method(anyone, none, trustSchema),
  'bundles.trust': method(
    supervisors,
    z.object({ key: z.string().regex(/^[0-9a-f]{64}$/), name: z.string().max(80).default('') }),
    trustSchema,
  ),
  'bundles.distrust': method(supervisors, z.object({ key: z.string().regex(/^[0-9a-f]{64}$/) }), trustSchema),

  /** Proves that a file is an update of whoever releases this program. NO_RELEASE_KEY, UPDATE_REFUSED. */
  'updates.verify': method(configurers, z.object({ file: path }), updateAboutSchema),
  /** Writes its package into a folder (default: the update's own), for an administrator to install. UPDATE_OLDER and the like. */
  'updates.unpack': method(
    configurers,
    z.object({ file: path, folder: path.optional(), allowDowngrade: z.boolean().default(false) }),
    unpackedUpdateSchema,
  ),

  'backbones.list': method(anyone, none, z.array(backboneSchema)),
  'backbones.add': method(
    configurers,
    z.object({ file: z.string().min(1), features: z.array(z.string()).optional() }),
    backboneSchema,
  ),

  /** Reads all entries; `signedUpTo`: the last one that a signed head covers. */
  'audit.verify': method(
    anyone,
    none,
    z.object({
      entries: z.number().int(),
      valid: z.boolean(),
      firstBroken: z.number().int().nullable(),
      signedUpTo: z.number().int(),
    }),
  ),
  /** The whole trail into a new file, one JSON document a line. */
  'audit.export': method(
    auditors,
    z.object({ file: path }),
    z.object({
      file: z.string(),
      bytes: z.number().int(),
      entries: z.number().int(),
      valid: z.boolean(),
      firstBroken: z.number().int().nullable(),
    }),
  ),

  /** Counts of the archive, `from` <= hour < `to` (cut to full hours, UTC); 400 days at most. */
  'reports.summary': method(
    anyone,
    z.object({ stationId: id, from: z.iso.datetime(), to: z.iso.datetime() }).superRefine((range, context) => {
      const message = rangeProblem(range);
      if (message !== null) context.addIssue({ code: 'custom', message });
    }),
    z.object({
      /** Oldest first; hours without parts are left out. */
      hours: z.array(
        z.object({ at: z.iso.datetime(), ok: z.number().int(), ng: z.number().int(), unsure: z.number().int() }),
      ),
      /** Most first; null: an NG part without a class. */
      ngByClass: z.array(z.object({ classId: id.nullable(), parts: z.number().int() })),
      /** Of the NG parts that a person labelled: judged ok. */
      escape: checkedSchema,
      /** Of the OK parts that a person labelled: judged ng. */
      overkill: checkedSchema,
      /** Single records of the period up to then were removed; the counts still hold them. null: none were. */
      removedUntil: z.iso.datetime().nullable(),
      /** Which model was active since when, oldest first; the first may have been before the period. */
      models: z.array(z.object({ modelId: id, since: z.iso.datetime() })),
    }),
  ),

  /** When shifts begin; the same for all stations of the PC. */
  /** How long a station keeps pictures and records, and up to when records were removed; null: none were. */
  'retention.get': method(
    anyone,
    z.object({ stationId: id }),
    z.object({ retention: retentionSchema, removedUntil: z.iso.datetime().nullable() }),
  ),
  /** What lies there, and what such a retention would remove now. Counts the archive: seconds where it is large. */
  'retention.preview': method(
    configurers,
    z.object({ stationId: id, retention: retentionSchema }),
    retentionPreviewSchema,
  ),
  'retention.set': method(
    supervisors,
    z.object({ stationId: id, retention: retentionSchema }),
    z.object({ retention: retentionSchema }),
  ),

  'reports.shifts': method(anyone, none, z.object({ starts: shiftStartsSchema })),
  'reports.setShifts': method(
    configurers,
    z.object({ starts: shiftStartsSchema }),
    z.object({ starts: shiftStartsSchema }),
  ),
  /**
   * How the line looks against the first parts after activation: means of groups of consecutive parts, evenly spread over the time since
   * then. A model that took over without a reference: none yet.
   */
  'reports.drift': method(
    anyone,
    z.object({ stationId: id, groups: z.number().int().min(1).max(2_000).default(400) }),
    z.object({
      modelId: id.nullable(),
      groupSize: z.number().int(),
      /** Parts that tell what is usual, so far, and how many they will be. */
      reference: z.number().int(),
      needed: z.number().int(),
      limits: z
        .object({ novelty: driftLimitsSchema, margin: driftLimitsSchema, unsureShare: driftLimitsSchema })
        .nullable(),
      /** Oldest first; `partId` is the group's first part. */
      groups: z.array(
        z.object({
          partId: z.number().int(),
          at: z.iso.datetime(),
          novelty: z.number(),
          margin: z.number(),
          unsureShare: z.number().min(0).max(1),
        }),
      ),
    }),
  ),

  /** Newest first. */
  'studies.list': method(anyone, z.object({ stationId: id }), z.array(studySchema)),
  /** Draws labelled parts, half of them good as far as there are. TOO_FEW_IMAGES, TOO_FEW_CLASSES. */
  'studies.create': method(
    technicians,
    z.object({
      stationId: id,
      name: z.string().trim().min(1).max(80),
      parts: z.number().int().min(10).max(300).default(50),
      rounds: z.number().int().min(1).max(5).default(2),
    }),
    studySchema,
  ),
  'studies.next': method(workers, z.object({ studyId: id }), studyNextSchema),
  /** The caller's call of the part that is due. CONFLICT: it is another one's turn, or the study is closed. */
  'studies.rate': method(
    workers,
    z.object({ studyId: id, partId: z.number().int(), round: z.number().int().min(0), good: z.boolean() }),
    studyNextSchema,
  ),
  /** Takes back the caller's last call. */
  'studies.takeBack': method(workers, z.object({ studyId: id }), studyNextSchema),
  /** No more calls; from now on there is a report. */
  'studies.close': method(technicians, z.object({ studyId: id }), studySchema),
  /** CONFLICT while the study is open. */
  'studies.report': method(anyone, z.object({ studyId: id }), studyReportSchema),

  'audit.list': method(
    auditors,
    z.object({ ...page }),
    z.object({
      /** null: not known yet, it is being verified. */
      valid: z.boolean().nullable(),
      firstBroken: z.number().int().nullable(),
      entries: z.array(
        z.object({
          n: z.number().int(),
          at: z.iso.datetime(),
          user: z.string(),
          action: z.string(),
          subject: z.string(),
        }),
      ),
    }),
  ),
} satisfies Record<string, MethodDefinition>;

export type Methods = typeof methods;
export type MethodName = keyof Methods;
/** What a caller passes (defaults may be left out) and gets. */
export type MethodInput<M extends MethodName> = z.input<Methods[M]['input']>;
export type MethodOutput<M extends MethodName> = z.output<Methods[M]['output']>;
/** What a handler gets: parsed. */
export type HandlerInput<M extends MethodName> = z.output<Methods[M]['input']>;

export const events = {
  'parts.inspected': partSchema,
  'line.changed': lineStatusSchema,
  'jobs.progressed': jobSchema,
  'queue.changed': z.object({ stationId: id, total: z.number().int() }),
  'alarms.changed': z.object({ stationId: id }),
  'classes.changed': z.object({}),
  'candidates.changed': z.object({ stationId: id }),
  'stations.changed': z.object({}),
  /** Retention, the beginning of shifts or the rule of approvals: forms and reports that hold them fetch them again. */
  'settings.changed': z.object({}),
  /** Room on the disk, clock or last backup; not each byte. */
  'home.changed': homeStateSchema,
  'session.changed': sessionStateSchema,
  /** Sent by the supervisor's relay after the core was restarted: refetch everything. */
  'core.restarted': z.object({}),
} satisfies Record<string, z.ZodType>;

export type Events = typeof events;
export type EventName = keyof Events;
export type EventPayload<E extends EventName> = z.output<Events[E]>;
