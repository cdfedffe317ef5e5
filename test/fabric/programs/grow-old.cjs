// Holds some 25 MB of objects, and makes others that are given up only after they have grown old. Prints how many
// megabytes of both there were at most.
const held = Array.from({ length: 150_000 }, (_, place) => ({ place, list: [place, place, place] }));
const passing = [];
let most = 0;
for (let made = 0; made < 1_500_000; made += 1) {
  passing.push({ made, list: [made, made, made, made] });
  if (passing.length > 60_000) passing.splice(0, 30_000);
  if (made % 1_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed);
}
console.log(JSON.stringify({ held: held.length, megabytes: most / 2 ** 20 }));
