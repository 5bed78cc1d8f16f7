/** What a run of adopt that was cut off has left: finished when the link is in its place, else taken back. */
import fs from 'node:fs';
import { LiteFsError } from '../../errors.ts';
import type { NodeReport } from '../../http/info.ts';
import { formatPosition, type Position } from '../../ltx/position.ts';
import { type Folder, isSame } from '../../os/folder.ts';
import { removeMarkedFolders } from './copy.ts';
import { clearMark, isMarked, markOf } from './mark.ts';
import {
  nameInMount,
  positionOf,
  refuseUsers,
  removeDatabase,
  usersOf,
  withFolderIn,
} from './mounted.ts';
import { kindOf, linkedFrom, type Names } from './names.ts';
import { putAway } from './original.ts';
import { type Place, placeOf } from './place.ts';

/** What was finished; undefined when the adoption begins at its beginning. */
export interface Finished {
  readonly place: Place;
  readonly position: string;
  readonly original: string | undefined;
}

/** Throws WRONG_STATE when it cannot be told whether all of it is what such a run has left. */
export function settleEarlierRun(
  names: Names,
  node: NodeReport,
  root: Folder,
  keep: boolean,
): Finished | undefined {
  const { folder } = names;
  const [file, adopting] = [kindOf(folder, names.file), kindOf(folder, names.adopting)];
  if (file === 'file' && adopting === 'link') takeBack(names, node, root);
  if (file === 'link' && adopting === 'file') return finish(names, node, root, keep);
  return undefined;
}

/** The announcement goes last: without it the next run would not know where to look. */
function takeBack(names: Names, node: NodeReport, root: Folder): void {
  const { folder } = names;
  const announced = folder.at(names.adopting);
  const target = linkedFrom(folder, names.adopting)?.target ?? '';
  const name = nameInMount(node, target);
  if (name === undefined) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${announced} leads to ${target}, which is not in ${node.path}`,
      {
        hint: 'Another node was to adopt it. Remove that link when it has not.',
      },
    );
  }
  const original = folder.look(names.file);
  if (!original) return;
  const mark = markOf(names, original);
  const place = placeOf(node, name);
  withFolderIn(root, place.folders, (mounted) => {
    if (mounted) removeCopy(mounted, place, mark, announced, node);
  });
  removeMarkedFolders(root, place, mark);
  folder.remove(names.adopting);
}

function removeCopy(
  mounted: Folder,
  { base, path }: Place,
  mark: string,
  announced: string,
  node: NodeReport,
): void {
  const found = mounted.look(base);
  if (!found) return;
  const fd = mounted.openFile(base);
  try {
    // Without being root we can remove nothing that is another's, and make no marks.
    const isOurs = process.geteuid?.() !== 0 || (fd !== undefined && isMarked(fd, mark));
    if (fd === undefined || !isOurs || !isSame(found, fs.fstatSync(fd))) {
      throw new LiteFsError(
        'WRONG_STATE',
        `${announced} leads to ${path}, and no adoption has made that`,
        {
          hint: 'Remove that link, after a look at both, and run this again.',
        },
      );
    }
    refuseUsers(path, usersOf(mounted, base, [process.pid, node.pid]));
    // A copy that nobody has used yet was one transaction; one that was cut off was none.
    if ((positionOf(mounted, base)?.txid ?? 0) > 1) {
      throw new LiteFsError(
        'WRONG_STATE',
        `an earlier run was cut off, and ${path} was written since`,
        {
          hint: `Remove ${announced} when that one is to stay, or ${path} when it is not.`,
        },
      );
    }
    removeDatabase(mounted, base);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function finish(names: Names, node: NodeReport, root: Folder, keep: boolean): Finished {
  const { folder } = names;
  const target = linkedFrom(folder, names.file)?.target ?? '';
  const name = nameInMount(node, target);
  const place = name === undefined ? undefined : placeOf(node, name);
  const position =
    place && withFolderIn(root, place.folders, (mounted) => complete(mounted, place));
  if (!position) {
    throw new LiteFsError('WRONG_STATE', `${names.path} leads to ${target}, which is not there`, {
      hint: `The original is ${folder.at(names.adopting)}.`,
    });
  }
  refuseUsers(folder.at(names.adopting), usersOf(folder, names.adopting, [process.pid]));
  return { place, position: formatPosition(position), original: putAway(names, keep) };
}

/** Its position; undefined when there is no such database. */
function complete(mounted: Folder | undefined, { base }: Place): Position | undefined {
  const position = mounted && positionOf(mounted, base);
  const fd = position && mounted.openFile(base);
  if (fd !== undefined) {
    clearMark(fd);
    fs.closeSync(fd);
  }
  return position;
}
