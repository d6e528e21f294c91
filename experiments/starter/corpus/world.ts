/** @file The small world the starter's stories live in: its people, places and things, and what is always true there. */

export const names = [
  "Anna",
  "Ben",
  "Clara",
  "David",
  "Ella",
  "Finn",
  "Grace",
  "Henry",
  "Ida",
  "Jack",
  "Kate",
  "Leo",
  "Mia",
  "Noah",
  "Olive",
  "Paul",
  "Rosa",
  "Sam",
  "Tess",
  "Victor",
  "Wanda",
  "Zoe",
] as const;

/** People of the background: they act in passing and are never the answer to a question. */
export const elders = [
  "Grandmother",
  "Grandfather",
  "the postman",
  "the old king",
  "the captain",
  "the miller",
  "the young queen",
] as const;

export const places = [
  "in the kitchen",
  "in the garden",
  "in the attic",
  "in the barn",
  "in the library",
  "in the cellar",
  "in the tower",
  "in the boat",
  "under the bridge",
  "under the bed",
  "under the oak",
  "under the stairs",
  "by the river",
  "by the well",
  "by the gate",
  "by the window",
  "on the roof",
  "on the shelf",
  "behind the mill",
  "behind the door",
] as const;

export const homes = [
  "in the red house",
  "in the old mill",
  "in the lighthouse",
  "in a tent",
  "by the sea",
  "by the church",
  "on the farm",
  "on the island",
  "near the station",
  "near the forest",
] as const;

export const colours = [
  "red",
  "blue",
  "green",
  "yellow",
  "white",
  "black",
  "brown",
  "silver",
  "golden",
  "purple",
] as const;

export const things = [
  "ball",
  "kite",
  "drum",
  "lamp",
  "coin",
  "key",
  "hat",
  "book",
  "cup",
  "rope",
  "bell",
  "box",
  "ring",
  "map",
  "flute",
  "basket",
  "scarf",
  "spoon",
  "mirror",
  "blanket",
  "clock",
  "letter",
  "broom",
  "shell",
] as const;

export const belongings = ["hat", "scarf", "coat", "boat", "kite", "bag", "lamp", "cup", "bicycle", "door"] as const;

export const foods = [
  "plums",
  "bread",
  "honey",
  "cheese",
  "nuts",
  "soup",
  "apples",
  "berries",
  "cake",
  "fish",
  "carrots",
  "pears",
  "corn",
  "butter",
] as const;

export const pets = [
  "fox",
  "cat",
  "dog",
  "goat",
  "rabbit",
  "mouse",
  "crow",
  "turtle",
  "hen",
  "donkey",
  "pony",
  "parrot",
] as const;

export const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;

export const trips = [
  "market",
  "beach",
  "school",
  "harbour",
  "castle",
  "mountain",
  "lake",
  "village",
  "fair",
  "museum",
  "circus",
  "zoo",
] as const;

export const numbers = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"] as const;

export const countables = [
  "ducks",
  "stars",
  "boats",
  "candles",
  "eggs",
  "birds",
  "stones",
  "flowers",
  "clouds",
  "shoes",
  "trees",
  "bells",
] as const;

export const secrets = [
  "lantern",
  "pepper",
  "velvet",
  "thunder",
  "marble",
  "ginger",
  "button",
  "island",
  "feather",
  "copper",
  "willow",
  "puzzle",
  "rocket",
  "saddle",
  "whistle",
  "blossom",
] as const;

export const feelings = ["sad", "happy", "tired", "angry", "proud", "afraid", "late", "quiet"] as const;

/** What may make anybody feel anything. */
export const causes = [
  "rain",
  "snow",
  "wind",
  "race",
  "fair",
  "noise",
  "letter",
  "dream",
  "heat",
  "song",
  "train",
  "fog",
] as const;

export const sights = [
  "whale",
  "rainbow",
  "deer",
  "ship",
  "bear",
  "train",
  "eagle",
  "giant",
  "ghost",
  "wolf",
  "swan",
  "dragon",
] as const;

/** What is true in every story. */
export const animals = [
  { kind: "duck", sound: "quack", home: "in the pond", young: "duckling" },
  { kind: "cow", sound: "moo", home: "in the meadow", young: "calf" },
  { kind: "owl", sound: "hoot", home: "in the forest", young: "owlet" },
  { kind: "sheep", sound: "baa", home: "on the hill", young: "lamb" },
  { kind: "pig", sound: "oink", home: "in the mud", young: "piglet" },
  { kind: "frog", sound: "croak", home: "in the swamp", young: "tadpole" },
  { kind: "bee", sound: "buzz", home: "in the hive", young: "grub" },
  { kind: "horse", sound: "neigh", home: "in the stable", young: "foal" },
] as const;

export const jobs = [
  { name: "baker", place: "in the bakery", makes: "rolls" },
  { name: "farmer", place: "in the field", makes: "wheat" },
  { name: "sailor", place: "at sea", makes: "knots" },
  { name: "teacher", place: "in the school", makes: "lessons" },
  { name: "painter", place: "in the studio", makes: "pictures" },
  { name: "gardener", place: "in the park", makes: "roses" },
  { name: "singer", place: "on the stage", makes: "music" },
  { name: "tailor", place: "in the shop", makes: "shirts" },
  { name: "smith", place: "at the forge", makes: "nails" },
  { name: "miner", place: "in the mine", makes: "tunnels" },
] as const;

export const opposites = [
  ["hot", "cold"],
  ["big", "small"],
  ["tall", "short"],
  ["fast", "slow"],
  ["dark", "light"],
  ["wet", "dry"],
  ["young", "old"],
  ["loud", "soft"],
  ["full", "empty"],
  ["open", "closed"],
  ["rich", "poor"],
  ["early", "late"],
] as const;
