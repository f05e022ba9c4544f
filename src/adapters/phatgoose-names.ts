/** @file The names of the authors' experts, in the order of their numbers in the published checkpoints.
 *
 *  Source: the four lists of scripts/concatenate.py in r-three/phatgoose (commit 4fd5790), which joins them. P3_Phatgoose holds the first
 *  list (T0 held-in), FLAN_Phatgoose and FLAN_AverageActivation all four. */

const words = (text: string) => text.trim().split(/\s+/);

const T0_HELD_IN = words(`
  P3Agnews P3Amazonpolarity P3Cosmosqa P3Samsum P3Quartz P3Ropes P3Wikibio P3Paws P3Wikiqa P3Socialiqa P3Qasc P3Quail
  P3Dream P3Wiqa P3Quarel P3Sciq P3Quoref P3Duorc P3Rottentomatoes P3Yelp P3Commongen P3Gigaword P3Xsum P3Mrpc P3Qqp
  P3Commonsenseqa P3Cose P3Wikihop P3Hotpotqa P3Appreviews P3Trec P3Multinews P3Imdb P3Adversarialqa P3Cnndailymail
  P3Dbpedia14
`);

const FLAN_2021 = words(`
  Flanv2zsAi2arceasy Flanv2zsAi2arcchallenge Flanv2zsAlgebralinear1d Flanv2zsBoolq Flanv2zsCoqa
  Flanv2zsDefpronounresolution Flanv2zsDrop Flanv2zsFixpunct Flanv2zsGemDart Flanv2zsGeme2enlg Flanv2zsGemwebnlgen
  Flanv2zsGemwikilinguaen Flanv2zsGluesst2 Flanv2zsGluecola Flanv2zsGluemnli Flanv2zsGlueqnli Flanv2zsGluestsb
  Flanv2zsGluewnli Flanv2zsLambada Flanv2zsNaturalquestionsopen Flanv2zsNewsroom Flanv2zsOpenbookqa
  Flanv2zsOpinionabstractidebate Flanv2zsOpinionabstractrottentomatoes Flanv2zsParacrawlenes Flanv2zsPiqa Flanv2zsQuac
  Flanv2zsSentiment140 Flanv2zsSnli Flanv2zsSquad Flanv2zsSupergluemultirc Flanv2zsSupergluerecord Flanv2zsTriviaqa
  Flanv2zsTruecase Flanv2zsUnifiedqascienceinst Flanv2zsWordsegment
`);

const NATURAL_INSTRUCTIONS = words(`
  Niv2zsTranslation Niv2zsProgramexecution Niv2zsQuestiongeneration Niv2zsSentimentanalysis Niv2zsTextcategorization
  Niv2zsTextmatching Niv2zsToxiclanguagedetection Niv2zsCauseeffectclassification Niv2zsInformationextraction
  Niv2zsTextualentailment Niv2zsWrongcandidategeneration Niv2zsNamedentityrecognition Niv2zsCommonsenseclassification
  Niv2zsFillintheblank Niv2zsTextcompletion Niv2zsSentencecomposition Niv2zsTitlegeneration Niv2zsLanguageidentification
  Niv2zsQuestionunderstanding Niv2zsSentenceperturbation Niv2zsAnswerabilityclassification Niv2zsSummarization
  Niv2zsCoreferenceresolution Niv2zsTextqualityevaluation Niv2zsTexttocode Niv2zsParaphrasing Niv2zsDialoguegeneration
  Niv2zsQuestionrewriting Niv2zsWordsemantics Niv2zsPostagging Niv2zsLinguisticprobing Niv2zsStorycomposition
  Niv2zsSpeakeridentification Niv2zsWordanalogy Niv2zsDatatotext Niv2zsStereotypedetection
  Niv2zsNegotiationstrategydetection Niv2zsDialogueactrecognition Niv2zsGenderclassification
  Niv2zsCoherenceclassification Niv2zsExplanation Niv2zsEthicsclassification Niv2zsWordrelationclassification
  Niv2zsSentenceordering Niv2zsAnswerverification Niv2zsMathematics Niv2zsIntentidentification Niv2zsKeywordtagging
  Niv2zsCodetotext Niv2zsDialoguestatetracking Niv2zsTextsimplification Niv2zsStancedetection Niv2zsFactverification
  Niv2zsGrammarerrordetection Niv2zsSectionclassification Niv2zsNumberconversion Niv2zsStyletransfer
  Niv2zsSpeakerrelationclassification Niv2zsIronydetection Niv2zsQuestiondecomposition Niv2zsOverlapextraction
  Niv2zsGrammarerrorcorrection Niv2zsSpellingerrordetection Niv2zsEntitygeneration Niv2zsSentenceexpansion
  Niv2zsDiscourseconnectiveidentification Niv2zsDiscourserelationclassification Niv2zsPoemgeneration
  Niv2zsEntityrelationclassification Niv2zsPunctuationerrordetection Niv2zsSpamclassification Niv2zsPaperreview
  Niv2zsSentencecompression Niv2zsPrepositionprediction Niv2zsMisc
`);

const ADDED = words(`
  P3Wscfixed P3Copa P3Hswag P3Wic P3Racehigh P3Racemiddle P3Webquestions Flanv2zsQrecc Flanv2zsWikidialog
  Flanv2zsQreccii Flanv2zsWikidialogii Flanv2zsAeslc Flanv2zsWmt16translatecsen Flanv2zsWmt16translatedeen
  Flanv2zsWmt16translateruen Flanv2zsWmt16translatefien Flanv2zsWmt16translateroen Flanv2zsWmt16translatetren
  Flanv2zsWmt14translatefren
`);

const ALL = [...T0_HELD_IN, ...FLAN_2021, ...NATURAL_INSTRUCTIONS, ...ADDED];

/** The authors' combinations: one, two, three or all of the lists. */
const JOINS: ReadonlySet<number> = new Set([36, 72, 147, 166]);

/** The names in a published checkpoint with this many experts; undefined if the authors published none. */
export function phatgooseNames(count: number): readonly string[] | undefined {
  return JOINS.has(count) ? ALL.slice(0, count) : undefined;
}
