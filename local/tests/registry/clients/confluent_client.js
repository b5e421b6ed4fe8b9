// Confluent's own JavaScript serializers against the registry at argv[2]. Prints "ok" at the end.

const assert = require("node:assert/strict");
const {
  AvroDeserializer,
  AvroSerializer,
  Compatibility,
  SchemaRegistryClient,
  SerdeType,
} = require("@confluentinc/schemaregistry");

const row = (type) => ({
  schemaType: "AVRO",
  schema: JSON.stringify({
    type: "record",
    name: "Row",
    namespace: "shop",
    fields: [
      { name: "id", type },
      { name: "title", type: ["null", "string"], default: null },
    ],
  }),
});

const refused = (action, status, code) =>
  assert.rejects(action, (error) => error.status === status && error.errorCode === code);

const roundTrip = async (baseURLs, topic, conf) => {
  const value = { id: 7, title: "ä" };
  const client = new SchemaRegistryClient({ baseURLs });
  const written = await new AvroSerializer(client, SerdeType.VALUE, conf).serialize(topic, value);
  assert.equal(written.readUInt8(0), 0);
  // Another client has no cache.
  const other = new SchemaRegistryClient({ baseURLs });
  const read = await new AvroDeserializer(other, SerdeType.VALUE, {}).deserialize(topic, written);
  assert.deepEqual({ ...read }, value);
  return written.readInt32BE(1);
};

const serializers = async (baseURLs) => {
  const client = new SchemaRegistryClient({ baseURLs });
  const id = await client.register("rows-value", row("int"));
  assert.equal(await client.getId("rows-value", row("int")), id);
  for (const conf of [
    { autoRegisterSchemas: false, useSchemaId: id },
    { autoRegisterSchemas: false, useLatestVersion: true },
    { autoRegisterSchemas: false, useLatestVersion: true, normalizeSchemas: true },
  ]) {
    assert.equal(await roundTrip(baseURLs, "rows", conf), id);
  }
  // With the schema that the client makes from the value.
  const made = await roundTrip(baseURLs, "made", { autoRegisterSchemas: true });
  assert.equal((await client.getLatestSchemaMetadata("made-value")).id, made);
  await client.deleteSubject("made-value");
};

const wholeApi = async (baseURLs) => {
  const client = new SchemaRegistryClient({ baseURLs });
  // No slash or space: this client does not encode the name in every request.
  const subject = "shop.rows-value";
  const first = await client.register(subject, row("int"));
  assert.ok(await client.testSubjectCompatibility(subject, row("long")));
  assert.ok(!(await client.testCompatibility(subject, 1, row("string"))));
  await refused(client.register(subject, row("string")), 409, 409);
  await refused(client.register(subject, { schemaType: "AVRO", schema: "{" }), 422, 42201);
  const second = await client.register(subject, row("long"), true);
  assert.notEqual(second, first);
  assert.deepEqual(await client.getAllVersions(subject), [1, 2]);
  assert.equal(await client.getVersion(subject, row("long")), 2);
  assert.equal((await client.getLatestSchemaMetadata(subject)).id, second);
  assert.equal((await client.getSchemaMetadata(subject, 1, true)).id, first);
  assert.match((await client.getBySubjectAndId(subject, second)).schema, /^\{"type":"record"/);
  await refused(client.getSchemaMetadata(subject, 9), 404, 40402);
  await refused(client.getLatestWithMetadata(subject, { owner: "x" }), 404, 40403);

  assert.equal(await client.getDefaultCompatibility(), "BACKWARD");
  await client.updateCompatibility(subject, Compatibility.FULL);
  assert.equal(await client.getCompatibility(subject), "FULL");
  await client.updateConfig(subject, { normalize: true });
  const config = await client.getConfig(subject);
  assert.deepEqual(config, { normalize: true, compatibilityLevel: "FULL" });

  const order = {
    schemaType: "AVRO",
    schema: JSON.stringify({
      type: "record",
      name: "Order",
      namespace: "shop",
      fields: [{ name: "row", type: "Row" }],
    }),
    references: [{ name: "shop.Row", subject, version: 2 }],
  };
  const referring = await client.register("orders-value", order);
  const conf = { useLatestVersion: true, autoRegisterSchemas: false };
  const serializer = new AvroSerializer(client, SerdeType.VALUE, conf);
  const written = await serializer.serialize("orders", { row: { id: 7, title: null } });
  assert.equal(written.readInt32BE(1), referring);
  const reader = new AvroDeserializer(new SchemaRegistryClient({ baseURLs }), SerdeType.VALUE, {});
  assert.equal((await reader.deserialize("orders", written)).row.id, 7);
  await refused(client.deleteSubject(subject), 422, 42206);

  await client.deleteSubject("orders-value");
  assert.equal(await client.deleteSubjectVersion(subject, 1), 1);
  assert.deepEqual(await client.deleteSubject(subject), [2]);
  await client.deleteSubject("orders-value", true);
  assert.deepEqual(await client.deleteSubject(subject, true), [1, 2]);
  assert.deepEqual(await client.getAllSubjects(), ["rows-value"]);
};

const main = async () => {
  const baseURLs = [process.argv[2]];
  await serializers(baseURLs);
  await wholeApi(baseURLs);
  console.log("ok");
};

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
