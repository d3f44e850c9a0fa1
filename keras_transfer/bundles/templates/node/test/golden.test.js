// The golden pictures get the answers that they must get: node --test test/
import assert from "node:assert/strict";
import test from "node:test";
import { PictureError, about, open, selftest } from "../index.js";

const model = await open();

for (const { picture, difference, passed } of await selftest(model))
  test(`${picture} differs by at most ${about.tolerance}`, () => assert.ok(passed, `differs by ${difference}`));

test("what is no picture is refused in a sentence", async () => {
  await assert.rejects(model.ask(new Uint8Array(8)), PictureError);
});
