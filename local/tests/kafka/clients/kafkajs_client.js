// KafkaJS does the script of mod.rs.

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = require("kafkajs");
const lz4 = require("lz4-napi");
const snappy = require("kafkajs-snappy");
const zstd = require("@mongodb-js/zstd");
const script = require("./script.js");
const { BOOTSTRAP, CODECS, EXTRAS, GROUP, PARTITIONS, RECORDS_IN_ROUND, TOPIC, say } = script;

// KafkaJS itself has gzip only and takes the others from packages.
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder) => zstd.compress(encoder.buffer),
  decompress: (buffer) => zstd.decompress(buffer),
});
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

const kafka = new Kafka({ brokers: [BOOTSTRAP], logLevel: logLevel.ERROR });
const admin = kafka.admin();

const produce = async (rounds) => {
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  for (const [name, codec] of rounds) {
    const messages = script.records(name);
    await producer.send({ topic: TOPIC, acks: -1, compression: COMPRESSION[codec], messages });
  }
  await producer.disconnect();
};

const consume = async (count) => {
  // It leaves when its last fetch is answered.
  const consumer = kafka.consumer({ groupId: GROUP, maxWaitTimeInMs: 500 });
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC], fromBeginning: true });
  const seen = [];
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      seen.push(script.seen(partition, message));
    },
  });
  await script.until(() => seen.length >= count);
  const ends = new Map(seen.map(([partition, offset]) => [partition, offset + 1]));
  await consumer.commitOffsets(
    [...ends].map(([partition, offset]) => ({ topic: TOPIC, partition, offset: String(offset) })),
  );
  await consumer.disconnect();
  return seen;
};

const partitions = async () =>
  (await admin.fetchTopicMetadata({ topics: [TOPIC] })).topics[0].partitions.length;

const describe = async () => {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: TOPIC }];
  const { configEntries } = (await admin.describeConfigs({ resources })).resources[0];
  const retention = configEntries.find((entry) => entry.configName === "retention.ms");
  return { partitions: await partitions(), "retention.ms": retention.configValue };
};

const transactions = async () => {
  const producer = kafka.producer({ transactionalId: GROUP, idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (const key of ["aborted", "committed"]) {
    const transaction = await producer.transaction();
    await transaction.send({ topic: TOPIC, messages: [{ key, value: key, partition: 0 }] });
    await (key === "committed" ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: `${GROUP}-committed`, maxWaitTimeInMs: 500 });
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC], fromBeginning: true });
  const seen = [];
  await consumer.run({
    eachMessage: async ({ message }) => {
      if (message.value.equals(message.key)) seen.push(message.key.toString());
    },
  });
  await script.until(() => seen.includes("committed"));
  await consumer.disconnect();
  return seen;
};

const listed = async () => (await admin.listGroups()).groups.some((it) => it.groupId === GROUP);

const groups = async () => {
  const there = await listed();
  const [described] = (await admin.describeGroups([GROUP])).groups;
  await admin.deleteGroups([GROUP]);
  return { listed: there, empty: described.state === "Empty", deleted: !(await listed()) };
};

const deleteRecords = async () => {
  await admin.deleteTopicRecords({ topic: TOPIC, partitions: [{ partition: 0, offset: "1" }] });
  const offsets = await admin.fetchTopicOffsets(TOPIC);
  return { first: Number(offsets.find((it) => it.partition === 0).low) };
};

const addPartition = async () => {
  await admin.createPartitions({ topicPartitions: [{ topic: TOPIC, count: PARTITIONS + 1 }] });
  await script.until(async () => (await partitions()) > PARTITIONS);
  return { partitions: await partitions() };
};

const main = async () => {
  await admin.connect();
  const { brokers } = await admin.describeCluster();
  say("brokers", brokers.map(({ host, port }) => `${host}:${port}`));
  const configEntries = [{ name: "retention.ms", value: script.RETENTION_MS }];
  await admin.createTopics({
    topics: [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1, configEntries }],
  });
  say("create", true);
  await produce(CODECS.map((codec) => [codec, codec]));
  say("produce", CODECS);
  say("consume", await consume(CODECS.length * RECORDS_IN_ROUND));
  await produce([["late", "none"]]);
  say("resume", await consume(RECORDS_IN_ROUND));
  const times = await admin.fetchTopicOffsetsByTimestamp(TOPIC, script.TIME_MS);
  say("times", times.map(({ partition, offset }) => [partition, Number(offset)]));
  say("describe", await describe());
  await script.waitToBeTold();
  if (EXTRAS.includes("transactions")) say("transactions", await transactions());
  if (EXTRAS.includes("groups")) say("groups", await groups());
  if (EXTRAS.includes("delete-records")) say("delete-records", await deleteRecords());
  if (EXTRAS.includes("partitions")) say("partitions", await addPartition());
  await admin.deleteTopics({ topics: [TOPIC] });
  say("delete", await script.until(async () => !(await admin.listTopics()).includes(TOPIC)));
  await admin.disconnect();
};

script.run(main);
