// What JavaScript serializers need of any maker's registry, at argv[2]. Prints "ok" at the end.
// Subjects are new ones, since the registry may be one that others use.

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");
const {
  AvroDeserializer,
  AvroSerializer,
  SchemaRegistryClient,
  SerdeType,
} = require("@confluentinc/schemaregistry");

const schema = (type) =>
  JSON.stringify({
    type: "record",
    name: "Row",
    namespace: "shop",
    fields: [
      { name: "id", type },
      { name: "title", type: ["null", "string"], default: null },
    ],
  });
const value = { id: 7, title: "ä" };

const kafkajs = async (host, subject) => {
  const registry = new SchemaRegistry({ host });
  const register = (type) =>
    registry.register({ type: SchemaType.AVRO, schema: schema(type) }, { subject });
  const { id } = await register("int");
  const encoded = await registry.encode(id, value);
  assert.deepEqual({ ...(await new SchemaRegistry({ host }).decode(encoded)) }, value);
  assert.equal((await register("int")).id, id);
  const wider = await register("long");
  assert.equal(await registry.getLatestSchemaId(subject), wider.id);
  await assert.rejects(register("string"), (error) => error.status === 409);
};

const confluent = async (url, topic) => {
  const baseURLs = [url];
  const client = new SchemaRegistryClient({ baseURLs });
  const subject = `${topic}-value`;
  const id = await client.register(subject, { schemaType: "AVRO", schema: schema("int") });
  const conf = { autoRegisterSchemas: false, useLatestVersion: true };
  const written = await new AvroSerializer(client, SerdeType.VALUE, conf).serialize(topic, value);
  assert.equal(written.readInt32BE(1), id);
  const other = new SchemaRegistryClient({ baseURLs });
  const read = await new AvroDeserializer(other, SerdeType.VALUE, {}).deserialize(topic, written);
  assert.deepEqual({ ...read }, value);
};

const main = async () => {
  const url = process.argv[2];
  await kafkajs(url, `kafkajs-${randomUUID()}`);
  await confluent(url, `rows-${randomUUID()}`);
  console.log("ok");
};

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
