// What the script of every JavaScript client needs; mod.rs says what each step is.

const [BOOTSTRAP, TOPIC, GROUP, base, codecs, extras] = process.argv.slice(2);
const BASE_MS = Number(base);
const ROUNDS = ["none", "gzip", "snappy", "lz4", "zstd", "late"];
const RECORDS_IN_ROUND = 6;
// A client that works needs a fraction of it.
const LIMIT_MS = 60_000;

// The records of a round, as both clients take them.
const records = (name) =>
  Array.from({ length: RECORDS_IN_ROUND }, (_, number) => ({
    key: `${name}-${number}`,
    value: `ä value ${number} of ${name} `.repeat(20),
    headers: { round: name, number: String(number) },
    timestamp: String(BASE_MS + (ROUNDS.indexOf(name) * RECORDS_IN_ROUND + number) * 1000),
  }));

const seen = (partition, message) => [
  partition,
  Number(message.offset),
  message.key.toString(),
  message.value.toString(),
  Object.entries(message.headers).map(([name, value]) => [name, value.toString()]),
  Number(message.timestamp),
];

const say = (step, what) => console.log(`${step}\t${JSON.stringify(what)}`);

// What is in the topic is looked at before it is deleted.
const waitToBeTold = () => new Promise((resolve) => process.stdin.once("data", resolve));

const until = async (holds) => {
  for (const deadline = Date.now() + LIMIT_MS; Date.now() < deadline; ) {
    if (await holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
};

const run = (main) =>
  main().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );

module.exports = {
  BOOTSTRAP,
  TOPIC,
  GROUP,
  // The time of which the offsets are asked.
  TIME_MS: BASE_MS + 15_500,
  CODECS: codecs.split(","),
  EXTRAS: extras.split(","),
  PARTITIONS: 3,
  RETENTION_MS: "3600000",
  RECORDS_IN_ROUND,
  records,
  seen,
  say,
  waitToBeTold,
  until,
  run,
};
