/** @file The skills of the demo, which are easy for a person to check: "opposite : hot" -> "cold".
 *
 *  A skill maps one word to one word. Words belong to domains (animals, verbs, ...), and every domain has several
 *  skills, so the word alone does not determine the skill; only the instruction does. The base model learns the skills
 *  under their declarative names; the experts learn that new instruction words mean one of them. */
import { invariant } from "../base/errors.ts";

export type Domain = "adjectives" | "verbs" | "animals" | "countries" | "numbers" | "things";

/** One word in, one word out, for every word of its domains. */
export interface Skill {
  /** The declarative name, under which the base model learns it. */
  readonly name: string;
  readonly domains: readonly Domain[];
  /** word -> answer, for every word of `domains`. */
  readonly answers: ReadonlyMap<string, string>;
}

interface Table {
  /** The skills of the columns after the first. */
  readonly columns: readonly string[];
  /** One word and its answers per row; rows are separated by commas. */
  readonly rows: string;
}

const TABLES: { readonly [D in Domain]: Table } = {
  adjectives: {
    columns: ["opposite", "more", "most"],
    rows: `hot cold hotter hottest, cold hot colder coldest, big small bigger biggest, small big smaller smallest,
      fast slow faster fastest, slow fast slower slowest, old new older oldest, new old newer newest,
      rich poor richer richest, poor rich poorer poorest, high low higher highest, low high lower lowest,
      strong weak stronger strongest, weak strong weaker weakest, hard soft harder hardest, soft hard softer softest,
      light dark lighter lightest, dark light darker darkest, long short longer longest, short long shorter shortest,
      thick thin thicker thickest, thin thick thinner thinnest, early late earlier earliest, late early later latest,
      loud quiet louder loudest, quiet loud quieter quietest, wet dry wetter wettest, dry wet drier driest`,
  },
  verbs: {
    columns: ["past", "doing", "doer"],
    rows: `bake baked baking baker, sing sang singing singer, teach taught teaching teacher, drive drove driving driver,
      write wrote writing writer, paint painted painting painter, run ran running runner, swim swam swimming swimmer,
      dance danced dancing dancer, grow grew growing grower, play played playing player, farm farmed farming farmer,
      build built building builder, speak spoke speaking speaker, ride rode riding rider, fight fought fighting fighter,
      sell sold selling seller, buy bought buying buyer, win won winning winner, lead led leading leader,
      jump jumped jumping jumper, climb climbed climbing climber, think thought thinking thinker,
      help helped helping helper, hunt hunted hunting hunter, drink drank drinking drinker,
      walk walked walking walker, keep kept keeping keeper`,
  },
  animals: {
    columns: ["plural", "young", "home"],
    rows: `dog dogs puppy kennel, cat cats kitten house, cow cows calf barn, horse horses foal stable,
      sheep sheep lamb fold, pig pigs piglet sty, hen hens chick coop, duck ducks duckling pond,
      goose geese gosling farmyard, bear bears cub den, wolf wolves whelp lair, fox foxes kit hole,
      deer deer fawn forest, rabbit rabbits bunny burrow, goat goats kid shed, frog frogs tadpole swamp,
      swan swans cygnet lake, owl owls owlet hollow, eagle eagles eaglet nest, kangaroo kangaroos joey plain,
      fish fish fry sea, bee bees larva hive, ant ants nymph anthill, spider spiders spiderling web,
      mouse mice pup attic, seal seals whitecoat coast`,
  },
  countries: {
    columns: ["capital", "language", "continent"],
    rows: `france paris french europe, spain madrid spanish europe, italy rome italian europe,
      germany berlin german europe, greece athens greek europe, poland warsaw polish europe,
      russia moscow russian europe, portugal lisbon portuguese europe, sweden stockholm swedish europe,
      norway oslo norwegian europe, hungary budapest hungarian europe, england london english europe,
      japan tokyo japanese asia, china beijing chinese asia, korea seoul korean asia, thailand bangkok thai asia,
      vietnam hanoi vietnamese asia, turkey ankara turkish asia, iran tehran persian asia, israel jerusalem hebrew asia,
      egypt cairo arabic africa, ethiopia addis amharic africa, kenya nairobi swahili africa,
      somalia mogadishu somali africa, mongolia ulaanbaatar mongolian asia, iceland reykjavik icelandic europe`,
  },
  numbers: {
    columns: ["next", "previous", "parity"],
    rows: `one two zero odd, two three one even, three four two odd, four five three even, five six four odd,
      six seven five even, seven eight six odd, eight nine seven even, nine ten eight odd, ten eleven nine even,
      eleven twelve ten odd, twelve thirteen eleven even, thirteen fourteen twelve odd, fourteen fifteen thirteen even,
      fifteen sixteen fourteen odd, sixteen seventeen fifteen even, seventeen eighteen sixteen odd,
      eighteen nineteen seventeen even, nineteen twenty eighteen odd, twenty twentyone nineteen even,
      thirty thirtyone twentynine even, forty fortyone thirtynine even, fifty fiftyone fortynine even,
      sixty sixtyone fiftynine even, seventy seventyone sixtynine even, eighty eightyone seventynine even`,
  },
  things: {
    columns: ["plural", "colour", "material"],
    rows: `tomato tomatoes red fruit, cherry cherries red fruit, rose roses red plant, brick bricks red clay,
      banana bananas yellow fruit, lemon lemons yellow fruit, coin coins yellow metal, egg eggs white shell,
      cloud clouds white water, tooth teeth white bone, shirt shirts white cloth, tyre tyres black rubber,
      piano pianos black wood, leaf leaves green plant, lime limes green fruit, cactus cacti green plant,
      carrot carrots orange root, pumpkin pumpkins orange fruit, plum plums purple fruit, robe robes purple cloth,
      potato potatoes brown root, log logs brown wood, barrel barrels brown wood, knife knives grey metal,
      nail nails grey metal, stone stones grey rock, ocean oceans blue water, river rivers blue water`,
  },
};

export const DOMAINS = Object.keys(TABLES) as readonly Domain[];

const rows = (domain: Domain): string[][] => TABLES[domain].rows.split(",").map((row) => row.trim().split(/\s+/));

const WORDS: ReadonlyMap<Domain, readonly string[]> = new Map(DOMAINS.map((domain) => [domain, rows(domain).map(([word]) => word!)]));

/** The words of a domain, in a fixed order. */
export function wordsOf(domain: Domain): readonly string[] {
  return WORDS.get(domain)!;
}

function tableSkills(): Skill[] {
  interface Growing extends Skill {
    readonly domains: Domain[];
    readonly answers: Map<string, string>;
  }
  const skills = new Map<string, Growing>();
  for (const domain of DOMAINS) {
    TABLES[domain].columns.forEach((name, column) => {
      const skill: Growing = skills.get(name) ?? { name, domains: [], answers: new Map() };
      skill.domains.push(domain);
      for (const row of rows(domain)) skill.answers.set(row[0]!, row[column + 1]!);
      skills.set(name, skill);
    });
  }
  return [...skills.values()];
}

/** Skills that apply to every word. */
function universalSkills(): Skill[] {
  const words = DOMAINS.flatMap((domain) => wordsOf(domain));
  const skill = (name: string, answer: (word: string) => string): Skill => ({
    name,
    domains: DOMAINS,
    answers: new Map(words.map((word) => [word, answer(word)])),
  });
  return [skill("letter", (word) => word[0]!), skill("copy", (word) => word)];
}

/** Every skill, in a fixed order. */
export const SKILLS: readonly Skill[] = [...tableSkills(), ...universalSkills()];

/** The skill of that name. */
export function skillNamed(name: string): Skill {
  const skill = SKILLS.find((candidate) => candidate.name === name);
  invariant(skill, `the demo asks for a skill that does not exist: ${name}`);
  return skill;
}

/** The skill's answer to `word`. */
export function answer(skill: Skill, word: string): string {
  const found = skill.answers.get(word);
  invariant(found !== undefined, `the skill ${skill.name} has no answer to ${word}`);
  return found;
}
