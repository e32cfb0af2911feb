import type { z } from 'zod';
import type { PasswordCost } from '../audit/keys.ts';
import type { camerasEvents, camerasMethods } from '../contract/cameras.ts';
import type { User } from '../contract/domain.ts';
import type { lineEvents, lineMethods } from '../contract/line.ts';
import type { Logger } from '../contract/log.ts';
import type { EventName, EventPayload, HandlerInput, MethodName, MethodOutput } from '../contract/methods.ts';
import type { BackboneSources } from './backbones.ts';
import type { RenderDemoImages } from './demo.ts';
import type { trainerEvents, trainerMethods } from '../contract/trainer.ts';

/* The seam between the core and whatever hosts it (a utility process, a forked Node, or a test in one process). */

type MethodTable = Record<string, { input: z.ZodType; output: z.ZodType }>;
type EventTable = Record<string, z.ZodType>;

/** What the core needs of an rpc client; the clients of main/contract/rpc have this shape. */
export interface PeerClient<M extends MethodTable, E extends EventTable> {
  call<N extends keyof M & string>(
    method: N,
    input: z.input<M[N]['input']>,
    options?: { signal?: AbortSignal; timeoutMs?: number },
  ): Promise<z.output<M[N]['output']>>;
  on<N extends keyof E & string>(event: N, callback: (payload: z.output<E[N]>) => void): () => void;
  /** Called once, when the process is gone or the channel was closed; pending calls fail with DISCONNECTED. */
  onClose(callback: () => void): () => void;
  /** Ends this connection, not the process. */
  close?(): void;
}
export type LineClient = PeerClient<typeof lineMethods, typeof lineEvents>;
export type CamerasClient = PeerClient<typeof camerasMethods, typeof camerasEvents>;
export type TrainerClient = PeerClient<typeof trainerMethods, typeof trainerEvents>;

/** The core never forks: it asks its host. */
export interface Processes {
  /**
   * The line process of a station: started if it is not running, else the running one. After a crash the core hears onClose and
   * asks again; the host may delay the answer while it restarts the process. The core calls line.configure on each new client.
   */
  line(stationId: string): Promise<LineClient>;
  /** The trainer process, started if it is not running. One job at a time uses it. */
  trainer(): Promise<TrainerClient>;
  /** A process that looks for cameras, started if it is not running; whoever asked stops it. */
  cameras(): Promise<CamerasClient>;
  /** Ends a process (`trainer`, `cameras`, or `line:<stationId>`) and waits for its end. One that is not running: no error. */
  stop(name: string): Promise<void>;
  /** Lets one page read a USB camera for this station's line; null: the line wants no pictures, or a page reads already. */
  feedTicket(stationId: string): Promise<string | null>;
  /** Stations whose line process is running now: a restarted core takes them up again. */
  runningLines(): Promise<string[]>;
}

/** Where the home's root key rests. `get` gives null when there is none. */
export interface SecretStore {
  get(name: string): Promise<Uint8Array | null>;
  set(name: string, value: Uint8Array): Promise<void>;
}

export interface CoreOptions {
  /** Absolute path of the data folder; made if missing. */
  home: string;
  /** True: HOME_NOT_DEMO unless the home is empty or was made as a demo. */
  demo: boolean;
  /** Its fields never hold a password or a key. */
  log: Logger;
  processes: Processes;
  /** Default: a file of mode 0600 under home/secrets, with a warning in the log. */
  secrets?: SecretStore;
  /** The keychain was asked to keep them: a root key that lies in a file all the same is told (home.state). */
  keychainAsked?: boolean;
  /** Program version for session.state. Default: 0.0.0. */
  version?: string;
  testRuntime?: boolean;
  /** Threads the trainer may use. Default 2. */
  trainerThreads?: number;
  now?: () => Date;
  /** Has the database opened: after a crash all of it is read, and an older one is brought up to date, which holds up this thread for as long as it is large. */
  opening?<T>(open: () => Promise<T>): Promise<T>;
  /** Of locking a key by a password. Default: PASSWORD_COST; no setting, tests that make hundreds of accounts take less. */
  passwordCost?: PasswordCost;
  /** Room on the home's disk. Default: asked of the system. */
  freeSpace?: (home: string) => Promise<{ freeBytes: number; totalBytes: number }>;
  /** Whose updates are believed. Default: those that the build was made with. */
  releaseKeys?: readonly string[];
  /** Default: the shipped backbone and main/learning's importBackbone. Tests hand in small ones. */
  backbones?: BackboneSources;
  /** Default: rendered by the simulated camera's own drawing. */
  renderDemoImages?: RenderDemoImages;
}

/** One window, tab or command-line run. Made by openSession, held by the host per connection; the core alone changes it. */
export interface Session {
  readonly id: string;
  user: User | null;
}

export type Handler<M extends MethodName> = (
  /** Parsed: the host (rpc server) has applied the method's input schema; the core parses again where it is handed raw input. */
  input: HandlerInput<M>,
  session: Session,
  signal: AbortSignal,
) => Promise<MethodOutput<M>>;
export type Handlers = { [M in MethodName]: Handler<M> };

export type CoreEvent = {
  [E in EventName]: {
    name: E;
    payload: EventPayload<E>;
    /** Set: for this session only (session.changed). null: for everyone. */
    sessionId: string | null;
  };
}[EventName];

export interface Core {
  readonly home: string;
  readonly demo: boolean;
  /** Roles are checked inside: NOT_ALLOWED. Input must have been parsed. */
  handlers: Handlers;
  /** A fresh, signed-out session. */
  openSession(): Session;
  closeSession(session: Session): void;
  subscribe(callback: (event: CoreEvent) => void): () => void;
  /** Stored PNG (width null) or a thumbnail of that width. NOT_FOUND if the home has no such image. */
  readImage(sha: string, width: number | null): Promise<Uint8Array>;
  /** Cancels jobs, leaves line processes running, closes the database, gives the home back. Safe to call twice. */
  close(): Promise<void>;
}
