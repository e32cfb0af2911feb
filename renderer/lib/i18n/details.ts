import type { ErrorDetails, Language } from '../../../main/contract/errors.ts';
import { ja } from './ja.ts';
import { translator, type Pair } from './translator.ts';

/*
 * What the core fills into the texts of the catalogue (main/contract/errors.ts) is English: which thing, how it stands, what it would have to be. The window says it
 * in its own language where it knows it, so that no sentence changes its language half-way.
 */

/** Names that the window has anyway: 'role.' gives operator, technician and so on. */
const namesOf = (prefix: string): Pair[] =>
  Object.entries(ja).flatMap(([key, text]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), text]] : []));

/** `kind`, `what`, `peer`. */
export const things: readonly Pair[] = [
  ...namesOf('job.kind.'),
  ['core', 'コア'],
  ['caller', '呼び出し元'],
  ['connection', '接続'],
  ['Class', 'クラス'],
  ['class', 'クラス'],
  ['action to take back', '取り消す操作'],
  ['alarm', '警報'],
  ['backbone', 'バックボーン'],
  ['bundle', 'バンドル'],
  ['bundle file', 'バンドルファイル'],
  ['camera', 'カメラ'],
  ['candidate', '候補'],
  ['code', 'バッジまたは PIN'],
  ['data folder', 'データフォルダー'],
  ['file', 'ファイル'],
  ['folder', 'フォルダー'],
  ['golden set', 'ゴールデンセット'],
  ['hot key', 'キー'],
  ['image', '画像'],
  ['image of part', '部品の画像'],
  ['job', '処理'],
  ['knowledge', '知識'],
  ['knowledge file', '知識ファイル'],
  ['label of part', '部品のラベル'],
  ['labelled image', 'ラベル済み画像'],
  ['labelled image of class', 'クラスのラベル済み画像'],
  ['part', '部品'],
  ['picture of station', 'ステーションの画像'],
  ['queue item', '待ち列の部品'],
  ['station', 'ステーション'],
  ['study', '受入試験'],
  ['update file', '更新ファイル'],
  ['user', '利用者'],
  ['archived frames', '保存画像'],
  ['password', 'パスワード'],
  ['the camera', 'カメラ'],
  ['the compression of this station', 'このステーションの圧縮'],
  ['the golden set', 'ゴールデンセット'],
  ['the line', 'ライン'],
  ['the line output', 'ライン出力'],
  ['the list of cameras', 'カメラの一覧'],
  ['the model before', '以前のモデル'],
  ['the other station', '相手のステーション'],
  ['the recipe', 'レシピ'],
  ['the register map', 'レジスターマップ'],
  ['this data folder', 'このデータフォルダー'],
  ['alarm {id}', '警報 {id}'],
  ['candidate {id}', '候補 {id}'],
  ['class {id}', 'クラス {id}'],
  ['knowledge of station {name}', 'ステーション {name} の知識'],
  ['line:{id}', 'ライン {id}'],
  ['part {id}', '部品 {id}'],
  ['station {id}', 'ステーション {id}'],
  ['study {name}', '受入試験「{name}」'],
  ['the job {id}', '処理 {id}'],
  ['the plan of {id}', '{id} の予約'],
  ['a line output', 'ライン出力'],
  ['events out', '他システムへの通知'],
  ['a gige camera', 'GigE Vision カメラ'],
  ['a usb camera', 'USB カメラ'],
  ['nothing is learnt until there is more', '増えるまで学習しません'],
  ['no picture is stored until there is more', '増えるまで画像を保存しません'],
];

/** `state` and `needed`. */
export const states: readonly Pair[] = [
  ...namesOf('role.'),
  ...namesOf('state.'),
  ['not offered', '提示なし'],
  ['an offered candidate', '提示された候補'],
  ['a candidate that is not decided on', 'まだ判断されていない候補'],
  ['not yet active', 'まだ有効でない候補'],
  ['running', '実行中'],
  ['starting', '起動中'],
  ['stopped', '停止中'],
  ['fault', '異常'],
  ['not configured', '未設定'],
  ['off', '未設定'],
  ['a running line', '運転中のライン'],
  ['a stopped line', '停止中のライン'],
  ['one that is set up', '設定済みのライン出力'],
  ['waiting', '順番待ち'],
  ['paused', '一時停止中'],
  ['done', '完了'],
  ['failed', '失敗'],
  ['cancelled', '中止'],
  ['a job under way that can be paused', '一時停止できる実行中の処理'],
  ['a paused one', '一時停止中の処理'],
  ['a search under way', '実行中の探索'],
  ['it to be resumed or discarded first', '先に再開または破棄'],
  ['labelled by you', '自分がラベル付け済み'],
  ['a label of somebody else', '他の人のラベル'],
  ['judged', '判定済み'],
  ['judged by you already', '自分が判定済み'],
  ['another part', '別の部品'],
  ['the next part', '次の部品'],
  ['open', '実施中'],
  ['closed', '終了'],
  ['an open study', '実施中の受入試験'],
  ['a closed study', '終了した受入試験'],
  ['the class of good parts', '良品のクラス'],
  ['retired or the same', '引退したクラスか同じクラス'],
  ['a class in use', '使用中のクラス'],
  ['a class of defects in use', '使用中の欠陥クラス'],
  ['two classes in use, the first of them defects', '使用中の 2 クラス（1 つ目は欠陥）'],
  ['being judged', '評価中'],
  ['waiting for an update', '更新待ち'],
  ['one at rest', '使われていないこと'],
  ['void', '無効'],
  ['one that waits', '待機中の予約'],
  ['changed', '変更済み'],
  ['set up', '設定済み'],
  ['a new one', '新しいもの'],
  ['the only supervisor', '唯一の監督者'],
  ['another supervisor', '別の監督者'],
  ['an operator', 'オペレーター'],
  ['a reminder to look at the model again', 'モデルの再確認の通知'],
  ['a measurement that passes, or a newer approved model', '合格する測定か、新しい承認済みモデル'],
  ['whole', '正常'],
  ['being repaired', '修復中'],
  ['a damaged one', '壊れたデータベース'],
  ['a damaged database', '壊れたデータベース'],
  ['gige', 'GigE Vision カメラ'],
  ['usb', 'USB カメラ'],
  ['folder', '監視フォルダー'],
  ['simulated', '模擬ライン'],
  [
    'a USB camera that a line or its setting up wants, and no page reads',
    'ラインか設定画面が使い、まだどの画面も読み取っていない USB カメラ',
  ],
  ['made in a demo', 'デモで作成'],
  ['made in a real data folder', '本番のデータフォルダーで作成'],
  ['what a demo has made', 'デモで作成したもの'],
  ['what a real data folder has made', '本番のデータフォルダーで作成したもの'],
  ['of this data folder', 'このデータフォルダーのもの'],
  ['a merge with that station, without a file', 'ファイルを使わない、そのステーションとの統合'],
  ['already in this station', 'このステーションに追加済み'],
  ['already in what was added before', '以前の追加分に含まれる'],
  ['a file with the images of other stations only', '他のステーションの画像だけのファイル'],
  [
    'with pictures of this station in it, and not learnt anew there since its labels or views changed',
    'このステーションの画像を含み、ラベルや見方が変わってから学習し直していない',
  ],
  ['of the recipe before', '前のレシピのもの'],
  ['an update of station {name} first', '先にステーション {name} の更新'],
];

/** `problem`, of what people at a line and in a dialog meet. Others are of files, networks and systems, and stay as they are. */
export const causes: readonly Pair[] = [
  ['it is empty', '空欄です'],
  ['it is longer than {n} characters', '{n} 文字を超えています'],
  ['it looks like a path', 'パスのような名前です'],
  ['it holds a control character', '制御文字を含んでいます'],
  ['it holds no letter and no digit', '文字も数字も含まれていません'],
  ['another folder has the same name', '同じ名前のフォルダーが他にあります'],
  ['its picture was not stored', '画像が保存されていません'],
  ['it was taught on a larger picture than {width} x {height}', '{width} × {height} より大きい画像で登録されています'],
  [
    'the best place resembles it by {score}, {least} are needed',
    '最も似た場所の一致度は {score}、必要な一致度は {least} です',
  ],
  ['it lies {x}, {y} pixels aside and sticks out of the picture', '位置が {x}, {y} 画素ずれ、画像からはみ出しています'],
  ['the camera let go of us', 'カメラ側から接続が解除されました'],
  ['no answer from {camera}', '{camera} から応答がありません'],
  ['the page that reads it does not answer', '読み取っている画面が応答しません'],
  ['"{path}" is not an absolute path', '「{path}」は絶対パスではありません'],
  [
    'a USB camera has no input for a trigger: choose free run, the program or the PLC',
    'USB カメラにはトリガー入力がありません（「カメラの画像ごと」「プログラムの指示」「PLC のトリガー」から選択）',
  ],
  ['its state is "{state}"', '状態が「{state}」です'],
  ['it has no approval', '承認がありません'],
  ['its plan is not the one that a supervisor made here', 'ここで監督者が作った予約ではありません'],
  ['{at} has passed', '{at} は過ぎています'],
  ['it is no file', 'ファイルではありません'],
  ['it is too large for a bundle', 'バンドルとしては大きすぎます'],
  ['its key is not in the list', '鍵が信頼済みの一覧にありません'],
  ['its process ended unexpectedly', 'プロセスが予期せず終了しました'],
];

const gates: readonly Pair[] = [
  ...namesOf('gate.'),
  ...namesOf('gate.').map(([name, text]): Pair => [
    `${name} {measured} ({limit})`,
    `${text} {measured}（限度 {limit}）`,
  ]),
];

const [thing, state] = [translator(things), translator(states)];
const listOf = (separator: string, each: (text: string) => string) => (text: string) =>
  text.split(separator).map(each).join('、');
const known: Readonly<Record<string, (text: string) => string>> = {
  kind: thing,
  what: thing,
  peer: thing,
  state,
  needed: state,
  problem: translator(causes, state),
  roles: listOf(' / ', translator(namesOf('role.'))),
  gates: listOf(', ', translator(gates)),
};

/** What an error's text is filled with in a language; what is not known stays as it is. */
export const detailsIn = (language: Language, details: ErrorDetails): ErrorDetails =>
  language === 'en'
    ? details
    : Object.fromEntries(
        Object.entries(details).map(([name, value]) => [
          name,
          typeof value === 'string' && Object.hasOwn(known, name) ? known[name]!(value) : value,
        ]),
      );
