import type { Events, Methods } from '../../main/contract/methods.ts';
import type { Client } from '../../main/contract/rpc/api.ts';

/** The client that a page under test holds. */
export type WindowClient = Client<Methods, Events>;
