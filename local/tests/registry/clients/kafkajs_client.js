// The registry client of the kafkajs family against the registry at argv[2]. Prints "ok" at the
// end.

const assert = require("node:assert/strict");
const { COMPATIBILITY, SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");

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

const main = async () => {
  const host = process.argv[2];
  const registry = new SchemaRegistry({ host });
  const value = { id: 7, title: "ä" };

  // Without a subject it is the record's full name; the client sets the subject's level as well.
  const { id } = await registry.register({ type: SchemaType.AVRO, schema: schema("int") });
  const encoded = await registry.encode(id, value);
  assert.equal(encoded.readInt32BE(1), id);
  assert.deepEqual({ ...(await registry.decode(encoded)) }, value);
  assert.equal(await registry.getLatestSchemaId("shop.Row"), id);
  assert.equal(await registry.getRegistryId("shop.Row", 1), id);

  // Another instance has no cache.
  assert.deepEqual({ ...(await new SchemaRegistry({ host }).decode(encoded)) }, value);

  const again = await registry.register({ type: SchemaType.AVRO, schema: schema("int") });
  assert.equal(again.id, id);
  const wider = await registry.register({ type: SchemaType.AVRO, schema: schema("long") });
  assert.notEqual(wider.id, id);
  assert.equal(
    await registry.getRegistryIdBySchema("shop.Row", {
      type: SchemaType.AVRO,
      schema: schema("long"),
    }),
    wider.id,
  );
  await assert.rejects(
    registry.register({ type: SchemaType.AVRO, schema: schema("string") }),
    (error) => error.status === 409,
  );

  const subject = "a/b c-value";
  const own = await registry.register(
    { type: SchemaType.AVRO, schema: schema("int") },
    { subject, compatibility: COMPATIBILITY.NONE },
  );
  assert.equal(own.id, id);
  const other = await registry.register(
    { type: SchemaType.AVRO, schema: schema("string") },
    { subject, compatibility: COMPATIBILITY.NONE },
  );
  assert.equal(await registry.getLatestSchemaId(subject), other.id);
  console.log("ok");
};

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
