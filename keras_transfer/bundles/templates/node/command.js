#!/usr/bin/env node
// node command.js PICTURE...: prints what the model says of each, as JSON. node command.js --selftest: passes or fails.
import { open, selftest } from "./index.js";

const given = process.argv.slice(2);
if (!given.length) {
  console.error("Name pictures, or --selftest.");
  process.exitCode = 2;
} else if (given[0] === "--selftest") {
  const rows = await selftest();
  const passed = rows.filter((row) => row.passed).length;
  for (const { picture, difference, passed } of rows)
    console.log(`${passed ? "pass" : "FAIL"}  ${picture}  differs by ${difference.toExponential(1)}`);
  console.log(`self-test ${passed === rows.length ? "passed" : "failed"}: ${passed} of ${rows.length} pictures`);
  process.exitCode = Number(passed < rows.length);
} else {
  const model = await open();
  for (const picture of given) {
    try {
      const { classes, ...said } = await model.ask(picture);
      console.log(JSON.stringify({ picture, ...said }));
    } catch (error) {
      console.error(error.message);
      process.exitCode = 1;
    }
  }
}
