/** The directory of the archives: used when it is there, never filled in the place of one that is not. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { IDENTITY_FILE, openPlace } from '../../../src/snapshots/place.ts';
import { createLayout, layoutOf } from '../../../src/store/layout.ts';
import { withFolder } from '../os/folder.ts';

describe('the directory of the archives', () => {
  const inFolder = (
    body: (dir: string, open: () => string, newDisk: (name: string) => string) => void,
  ) =>
    withFolder((folder) => {
      const dir = path.join(folder, 'nas', 'litefs');
      const open = () => openPlace(dir, path.join(folder, 'archives.json'));
      fs.mkdirSync(path.dirname(dir));
      /** Something else is mounted there; what was there goes to the path that it returns. */
      const newDisk = (name: string) => {
        fs.renameSync(dir, path.join(folder, name));
        fs.mkdirSync(dir);
        return path.join(folder, name);
      };
      body(dir, open, newDisk);
    });

  it('is made when only it is missing, and known from then on', () =>
    inFolder((dir, open) => {
      const above = path.dirname(dir);
      fs.rmdirSync(above);
      assert.throws(open, { code: 'DISK', message: /litefs: ENOENT/ });
      fs.mkdirSync(above);
      const id = open();
      assert.equal(fs.statSync(dir).mode & 0o777, 0o700);
      assert.match(id, /^[0-9a-f-]{36}$/);
      assert.equal(open(), id);
      assert.deepEqual(fs.readdirSync(dir), [IDENTITY_FILE]);
    }));

  // The config's text does not tell. On 25311ce archives were written to where the link leads, and emptied at each start.
  it('is no folder of data.dir, nor below one, by a link either', () =>
    withFolder((data) => {
      createLayout(layoutOf(data));
      const [link, outside] = [path.join(data, 'link'), path.join(data, 'backups')];
      fs.mkdirSync(outside);
      const open = (to: string) => {
        fs.rmSync(link, { force: true });
        fs.symlinkSync(to, link);
        return () => openPlace(link, layoutOf(data).archives);
      };
      fs.mkdirSync(path.join(data, 'tree', 'deep'));
      for (const name of ['.', 'spool', 'cuts', 'tree/deep']) {
        assert.throws(
          open(path.join(data, name)),
          { code: 'CONFIG', message: /in data\.dir/ },
          name,
        );
      }
      assert.match(open(outside)(), /^[0-9a-f-]{36}$/);
    }));

  it('is not filled when it is missing, or what it is on, and taken again when it is back', () =>
    inFolder((dir, open, newDisk) => {
      const id = open();
      const away = newDisk('away');
      assert.throws(open, { code: 'DISK', message: /litefs is not what it was/ });
      assert.deepEqual(fs.readdirSync(dir), []);
      fs.rmdirSync(dir);
      assert.throws(open, { code: 'DISK', message: /litefs is not what it was/ });
      assert(!fs.existsSync(dir));
      fs.cpSync(away, dir, { recursive: true });
      assert.equal(open(), id);
    }));

  it('is another when a person says so', () =>
    inFolder((dir, open, newDisk) => {
      const first = open();
      const away = newDisk('first');
      fs.writeFileSync(path.join(dir, IDENTITY_FILE), '');
      const second = open();
      assert.notEqual(second, first);
      assert.equal(open(), second);
      fs.renameSync(dir, `${away}-second`);
      fs.renameSync(away, dir);
      assert.equal(open(), first, 'disks may take turns');
    }));

  it('may be one that another node, or this one before it was set up anew, has used', () =>
    inFolder((dir, open) => {
      const id = open();
      fs.rmSync(path.join(dir, '../../archives.json'));
      assert.equal(open(), id);
      fs.writeFileSync(path.join(dir, '../../archives.json'), '{');
      assert.throws(open, { code: 'DATA_DIR', message: /archives\.json makes no sense/ });
    }));

  it('says what is in its place', () =>
    inFolder((dir, open) => {
      fs.writeFileSync(dir, '');
      assert.throws(open, { code: 'DISK', message: /ENOTDIR/ });
    }));
});
