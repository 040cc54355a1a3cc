import { afterAll, afterEach } from 'vitest';
import { LineClient } from './line-client.ts';
import { cleanUp, forgetEnded, transcripts } from './process.ts';

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.error(`${task.name}: what ran then\n${transcripts()}`);
  forgetEnded();
  LineClient.destroyAll(); // Else a server that drains would wait for them.
});

afterAll(cleanUp);
