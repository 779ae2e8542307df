import java.util.List;
import java.util.stream.Collectors;

/** Tells whoever started the program what happened, as lines of JSON. */
final class Report {
    /** @param fields names and values by turns */
    static synchronized void event(String event, Object... fields) {
        StringBuilder line = new StringBuilder("{\"event\": ").append(json(event));
        for (int index = 0; index < fields.length; index += 2) {
            line.append(", ").append(json(fields[index])).append(": ").append(json(fields[index + 1]));
        }
        System.out.println(line.append("}"));
        System.out.flush();
    }

    private static String json(Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return String.valueOf(value);
        }
        if (value instanceof List) {
            return ((List<?>) value).stream().map(Report::json).collect(Collectors.joining(", ", "[", "]"));
        }
        String text = value.toString().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
        return "\"" + text + "\"";
    }
}
