/** Lives in which things happen by chance: clean stops, kill -9, starts, and borrowed transactions. */
import type { SeededRandom } from '../random.ts';
import type { Life, LifeSettings } from './life.ts';
import { Stage } from './stage.ts';

/** Of an application, between two events. */
const COMMITS_MIN = 10;
const COMMITS_MAX = 120;
/** How long a node stays stopped: ext4 commits its journal meanwhile. */
const STOPPED_MS_MAX = 2500;

/** `dir`: an empty folder for all of it. `events`: how many things happen. */
export async function live(
  dir: string,
  settings: LifeSettings,
  events: number,
  random: SeededRandom,
): Promise<Life> {
  const stage = await Stage.open(dir, settings);
  try {
    stage.beginWritingBack();
    await stage.start('primary');
    await stage.start('replica');
    for (let i = 0; i < events; i++) {
      await stage.write(COMMITS_MIN + random.below(COMMITS_MAX - COMMITS_MIN));
      const happen = random.pick(EVENTS);
      await happen(stage, random, settings);
    }
    await stage.write(COMMITS_MAX);
  } finally {
    await stage.close();
  }
  return stage.life();
}

type LifeEvent = (stage: Stage, random: SeededRandom, settings: LifeSettings) => Promise<void>;

const EVENTS: readonly LifeEvent[] = [
  async function stopBoth(stage, random) {
    await stage.endApp('SIGTERM');
    await stage.stop('replica');
    await stage.stop('primary');
    await pause(random.below(STOPPED_MS_MAX));
    await stage.start('primary');
    await stage.start('replica');
  },
  async function stopReplica(stage, random) {
    await stage.stop('replica');
    await pause(random.below(STOPPED_MS_MAX));
    await stage.start('replica');
  },
  async function stopPrimary(stage, random) {
    await stage.endApp('SIGTERM');
    await stage.stop('primary');
    await pause(random.below(STOPPED_MS_MAX));
    await stage.startUnderReplica();
  },
  async function killReplica(stage) {
    await stage.kill('replica');
    await stage.start('replica');
  },
  async function killPrimary(stage) {
    await stage.kill('primary');
    await stage.endApp('SIGKILL');
    await stage.startUnderReplica();
  },
  async function killApp(stage) {
    await stage.endApp('SIGKILL');
  },
  async function borrow(stage, random, settings) {
    await stage.borrow(random.pick(settings.banks));
  },
  (stage) => stage.copySurvivors(),
  (stage) => stage.copySurvivors(),
];

/** Nothing is waited for: what time brings is what this is about. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
