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

export const feelings = ["sad", "happy", "tired", "angry", "proud", "afraid"] as const;

/** Why somebody may feel so, in words that fit every name. */
export const reasons = [
  "because the rain would not stop",
  "because the summer fair was near",
  "because the night was long",
  "because a friend came home",
  "because the bread was burnt",
  "because the snow had come",
  "because the old clock broke",
  "because the race was won",
  "because the wind took the tent",
  "because the cake was gone",
] as const;

export const jobs = [
  "baker",
  "farmer",
  "sailor",
  "teacher",
  "painter",
  "doctor",
  "gardener",
  "singer",
  "tailor",
  "smith",
] as const;
