// How the files beside this one were made: org.apache.avro:avro:1.12.0 from Maven Central, asked
// for the canonical text of each schema and for the verdict on each pair.
//
//   mvn dependency:copy-dependencies   (of a pom.xml that names that artifact)
//   javac -cp 'target/dependency/*' Oracle.java
//   java -cp '.:target/dependency/*' Oracle < questions.jsonl > answers.jsonl
//
// A question is {"schema": text} or {"reader": text, "writer": text}; the answer is the question
// with "canonical" (null: refused) or "reasons" (empty: compatible) added.

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;

public class Oracle {
    public static void main(String[] arguments) throws Exception {
        var json = new ObjectMapper();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            var question = (ObjectNode) json.readTree(line);
            if (question.has("schema")) {
                question.put("canonical", canonical(question.get("schema").asText()));
            } else {
                compare(question);
            }
            out.println(json.writeValueAsString(question));
        }
        out.flush();
    }

    private static String canonical(String text) {
        try {
            return new Schema.Parser().parse(text).toString();
        } catch (RuntimeException refused) {
            return null;
        }
    }

    private static void compare(ObjectNode pair) {
        var reader = new Schema.Parser().parse(pair.get("reader").asText());
        var writer = new Schema.Parser().parse(pair.get("writer").asText());
        var reasons = pair.putArray("reasons");
        try {
            var result = SchemaCompatibility.checkReaderWriterCompatibility(reader, writer);
            for (var found : result.getResult().getIncompatibilities()) {
                reasons.add(found.getType() + " " + found.getLocation() + " " + found.getMessage());
            }
        } catch (AvroRuntimeException ambiguous) {
            // "Reader record field ... matches multiple fields in writer record schema"
            reasons.add("AMBIGUOUS_FIELD");
        }
    }
}
