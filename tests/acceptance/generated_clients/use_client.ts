// Uses the types that openapi-typescript makes from /openapi.json; compiled by tsc, run by node.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

const [, , baseUrl, key] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { "X-Edx-Api-Key": key } });
const course_id = "course-v1:Uni+TSC101+2026";

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

const course = await client.PUT("/api/enrollment/v1/courses/{course_id}", {
  params: { path: { course_id } },
  body: { course_name: "Types", capacity: 1, course_modes: [{ slug: "audit" }] },
});
check(course.data?.capacity === 1, JSON.stringify(course.error));

const patched = await client.PATCH("/api/enrollment/v1/courses/{course_id}", {
  params: { path: { course_id } },
  body: { capacity: 2 },
});
check(patched.data?.course_name === "Types", "PATCH set a member that was not named");

const asked = await client.POST("/api/enrollment/v1/enrollment", {
  params: { header: { Prefer: "wait=30" } },
  body: { user: "ada", course_details: { course_id }, mode: "audit" },
});
check(asked.response.status === 200, JSON.stringify(asked.error ?? asked.data));
const enrollment = asked.data as components["schemas"]["Enrollment"];
check(enrollment.is_active && enrollment.mode === "audit", JSON.stringify(enrollment));

const refused = await client.POST("/api/enrollment/v1/enrollment", {
  body: { user: "ada", course_id: "no course" },
});
const problem: components["schemas"]["Problem"] | undefined = refused.error;
check(refused.response.status === 400, JSON.stringify(refused.data));
check(problem?.code === "invalid_row", JSON.stringify(problem));

const feed = await client.GET("/api/enrollment/v1/changes", {
  params: { query: { since: 0, limit: 1000 } },
});
// the other type of this answer is the stream of the feed, a string
const page = feed.data as components["schemas"]["Changes"];
const event = page.changes.find((one) => one.data.course_id === course_id);
check(event?.data.user === "ada", JSON.stringify(feed.data));
console.log("used", event.type);
