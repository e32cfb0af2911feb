import { config } from 'zod';

// Imported before anything that builds a schema: zod would otherwise try `new Function`, which the page's policy refuses
// (it copes, but each try is reported as a violation).
config({ jitless: true });
