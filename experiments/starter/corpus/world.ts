/** @file The small world the starter's stories live in: its people, places, things and what is always true there. */

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
  "by the river",
  "by the well",
  "by the gate",
  "on the roof",
  "on the shelf",
  "behind the mill",
  "behind the door",
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
] as const;

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
] as const;

/** What is true in every story: kind, sound, home, young. */
export const animals = [
  { kind: "duck", sound: "quack", home: "pond", young: "duckling" },
  { kind: "cow", sound: "moo", home: "meadow", young: "calf" },
  { kind: "owl", sound: "hoot", home: "forest", young: "owlet" },
  { kind: "sheep", sound: "baa", home: "hill", young: "lamb" },
  { kind: "pig", sound: "oink", home: "sty", young: "piglet" },
  { kind: "frog", sound: "croak", home: "swamp", young: "tadpole" },
  { kind: "bee", sound: "buzz", home: "hive", young: "grub" },
  { kind: "horse", sound: "neigh", home: "stable", young: "foal" },
] as const;

export const pets = ["fox", "cat", "dog", "goat", "rabbit", "mouse", "crow", "turtle", "hen", "donkey"] as const;

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
] as const;

export const numbers = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"] as const;

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
] as const;

/** Names for animals, and words nobody expects. */
export const petNames = [
  "Rusty",
  "Shadow",
  "Pepper",
  "Bella",
  "Ginger",
  "Max",
  "Snow",
  "Lucky",
  "Coco",
  "Star",
  "Daisy",
  "Button",
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

export const surnames = [
  "Miller",
  "Carter",
  "Fisher",
  "Hill",
  "Woods",
  "Stone",
  "Rivers",
  "Baker",
  "King",
  "Young",
  "Field",
  "Marsh",
  "Lake",
  "Winter",
  "Green",
] as const;

/** What somebody did, in one word. */
export const deeds = [
  "danced",
  "slept",
  "cooked",
  "laughed",
  "painted",
  "waited",
  "whistled",
  "listened",
  "worked",
  "rested",
  "counted",
  "dreamed",
  "swam",
  "cried",
  "prayed",
  "jumped",
] as const;
