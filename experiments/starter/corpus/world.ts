/** @file The small world the starter's stories live in: its people, places, things and what is always true there. */

export const girls = [
  "Anna",
  "Clara",
  "Ella",
  "Grace",
  "Ida",
  "Kate",
  "Mia",
  "Olive",
  "Rosa",
  "Tess",
  "Wanda",
  "Zoe",
] as const;
export const boys = [
  "Ben",
  "David",
  "Finn",
  "Henry",
  "Jack",
  "Leo",
  "Noah",
  "Paul",
  "Sam",
  "Tom",
  "Victor",
  "Will",
] as const;

export const places = [
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
  "forest",
  "river",
  "mill",
  "tower",
  "library",
  "garden",
] as const;

/** Where things are found. */
export const spots = [
  "under the bed",
  "behind the door",
  "in the kitchen",
  "on the roof",
  "by the well",
  "in the attic",
  "under the oak",
  "in the barn",
  "on the shelf",
  "in the cellar",
  "behind the gate",
  "in the boat",
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
  "orange",
  "pink",
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

export const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;

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

export const feelings = ["sad", "happy", "tired", "angry", "proud", "afraid", "hungry", "lonely"] as const;

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
  "singer",
  "tailor",
  "smith",
  "hunter",
  "shepherd",
  "miner",
] as const;

export const pets = ["fox", "cat", "dog", "goat", "rabbit", "mouse", "crow", "turtle", "hen", "donkey"] as const;

/** What is true in every story: kind, sound, home, young. */
export const animals = [
  { kind: "duck", sound: "quack", home: "pond", young: "duckling" },
  { kind: "cow", sound: "moo", home: "meadow", young: "calf" },
  { kind: "owl", sound: "hoot", home: "nest", young: "owlet" },
  { kind: "sheep", sound: "baa", home: "hill", young: "lamb" },
  { kind: "pig", sound: "oink", home: "sty", young: "piglet" },
  { kind: "frog", sound: "croak", home: "swamp", young: "tadpole" },
  { kind: "bee", sound: "buzz", home: "hive", young: "grub" },
  { kind: "horse", sound: "neigh", home: "stable", young: "foal" },
] as const;

export const opposites = [
  ["big", "small"],
  ["hot", "cold"],
  ["day", "night"],
  ["up", "down"],
  ["old", "new"],
  ["fast", "slow"],
  ["dark", "bright"],
  ["full", "empty"],
  ["wet", "dry"],
  ["loud", "quiet"],
] as const;
