import { withCore } from './core-client.ts';
import type { Context } from './context.ts';
import { followJob } from './jobs.ts';

/** Makes the data folder a demo with an active model, unless it is one already; HOME_NOT_DEMO if it holds real data. */
export async function ensureDemo(context: Context): Promise<void> {
  await withCore(
    context,
    async (client) => {
      const stations = await client.call('stations.list', {});
      if (stations.some((station) => station.activeModelId !== null)) return;
      await followJob(context, client, await client.call('session.startDemo', { language: 'en' }));
    },
    { demo: true, makes: true },
  );
}
