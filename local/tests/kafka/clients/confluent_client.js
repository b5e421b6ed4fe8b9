// Confluent's JavaScript client does the script of mod.rs.

const { KafkaJS } = require("@confluentinc/kafka-javascript");
const script = require("./script.js");
const { BOOTSTRAP, CODECS, EXTRAS, GROUP, PARTITIONS, RECORDS_IN_ROUND, TOPIC, say } = script;

const kafka = new KafkaJS.Kafka({
  kafkaJS: { brokers: [BOOTSTRAP], logLevel: KafkaJS.logLevel.ERROR },
});
const admin = kafka.admin();

const produce = async (name, codec) => {
  const producer = kafka.producer({ kafkaJS: { idempotent: true, acks: -1, compression: codec } });
  await producer.connect();
  await producer.send({ topic: TOPIC, messages: script.records(name) });
  await producer.disconnect();
};

const consume = async (count) => {
  const consumer = kafka.consumer({
    kafkaJS: { groupId: GROUP, fromBeginning: true, autoCommit: false },
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC] });
  const seen = [];
  consumer.run({
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

const transactions = async () => {
  const producer = kafka.producer({ kafkaJS: { transactionalId: GROUP } });
  await producer.connect();
  for (const key of ["aborted", "committed"]) {
    const transaction = await producer.transaction();
    await transaction.send({ topic: TOPIC, messages: [{ key, value: key, partition: 0 }] });
    await (key === "committed" ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const consumer = kafka.consumer({
    kafkaJS: { groupId: `${GROUP}-committed`, fromBeginning: true, autoCommit: false },
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC] });
  const seen = [];
  consumer.run({
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
  const empty = described.state === KafkaJS.ConsumerGroupStates.EMPTY;
  await admin.deleteGroups([GROUP]);
  return { listed: there, empty, deleted: !(await listed()) };
};

const deleteRecords = async () => {
  await admin.deleteTopicRecords({ topic: TOPIC, partitions: [{ partition: 0, offset: "1" }] });
  const offsets = await admin.fetchTopicOffsets(TOPIC);
  return { first: Number(offsets.find((it) => it.partition === 0).low) };
};

const main = async () => {
  await admin.connect();
  // It has no call that lists brokers; a partition's leader is one.
  const configEntries = [{ name: "retention.ms", value: script.RETENTION_MS }];
  await admin.createTopics({
    topics: [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1, configEntries }],
  });
  // A broker of Kafka hears of the topic from its controller, a moment later.
  say("create", await script.until(async () => (await admin.listTopics()).includes(TOPIC)));
  const [{ partitions }] = await admin.fetchTopicMetadata({ topics: [TOPIC] });
  const { host, port } = partitions[0].leaderNode;
  say("brokers", [`${host}:${port}`]);
  for (const codec of CODECS) await produce(codec, codec);
  say("produce", CODECS);
  say("consume", await consume(CODECS.length * RECORDS_IN_ROUND));
  await produce("late", "none");
  say("resume", await consume(RECORDS_IN_ROUND));
  const times = await admin.fetchTopicOffsetsByTimestamp(TOPIC, script.TIME_MS);
  say("times", times.map(({ partition, offset }) => [partition, Number(offset)]));
  // It has no call that tells a topic's configuration.
  say("describe", { partitions: partitions.length });
  await script.waitToBeTold();
  if (EXTRAS.includes("transactions")) say("transactions", await transactions());
  if (EXTRAS.includes("groups")) say("groups", await groups());
  if (EXTRAS.includes("delete-records")) say("delete-records", await deleteRecords());
  await admin.deleteTopics({ topics: [TOPIC] });
  say("delete", await script.until(async () => !(await admin.listTopics()).includes(TOPIC)));
  await admin.disconnect();
};

script.run(main);
