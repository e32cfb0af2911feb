import { z } from 'zod';

/**
 * The closed catalogue of expected failures. Each says what happened, which thing, and what the reader can do next, in both
 * languages. `{name}` is filled from the error's details. A bug is an assertion, not an entry here.
 */
interface CatalogueEntry {
  en: readonly [message: string, nextAction: string];
  ja: readonly [message: string, nextAction: string];
}

const entry = <const En extends CatalogueEntry['en']>(en: En, ja: CatalogueEntry['ja']) => ({ en, ja });

export const errorCatalogue = {
  // --- line
  CAMERA_NO_FRAME: entry(
    ['No picture came for a trigger within the deadline.', 'Check the cable and the trigger settings of the camera.'],
    ['トリガーに対する画像が期限内に届きませんでした。', 'カメラのケーブルとトリガー設定を確認してください。'],
  ),
  PICTURE_DARK: entry(
    ['The picture is too dark to be judged.', 'Check lamp, exposure and lens cap.'],
    ['画像が暗すぎて判定できません。', '照明・露光・レンズキャップを確認してください。'],
  ),
  PICTURE_SATURATED: entry(
    ['Too much of the picture is white to be judged.', 'Check lamp and exposure.'],
    ['画像の白飛びが多く判定できません。', '照明と露光を確認してください。'],
  ),
  PICTURE_BLURRED: entry(
    ['The picture is too blurred to be judged.', 'Check focus, vibration and the cleanness of the lens.'],
    ['画像がぼけていて判定できません。', 'ピント・振動・レンズの汚れを確認してください。'],
  ),
  PICTURE_FROZEN: entry(
    ['The camera sends the same picture again and again.', 'Switch the camera off and on.'],
    ['カメラが同じ画像を送り続けています。', 'カメラの電源を入れ直してください。'],
  ),
  PART_NOT_FOUND: entry(
    [
      'The part was not found in the picture: {problem}.',
      'Check its place and the lamp, or teach the part finder again.',
    ],
    [
      '画像の中に部品が見つかりません: {problem}。',
      '位置と照明を確認するか、設定の「部品の位置」で登録し直してください。',
    ],
  ),
  // --- calls and accounts
  INVALID_INPUT: entry(
    ['{what} is not valid: {problem}.', 'Correct it and try again.'],
    ['{what} が正しくありません: {problem}。', '修正してもう一度実行してください。'],
  ),
  UNKNOWN_METHOD: entry(
    ['There is no method "{method}".', 'Update the window and the core to the same version.'],
    ['メソッド「{method}」はありません。', '画面とコアを同じ版にしてください。'],
  ),
  NOT_ALLOWED: entry(
    ['"{method}" needs the role {roles}.', 'Sign in with such an account.'],
    ['「{method}」には {roles} の権限が必要です。', '権限のあるアカウントでサインインしてください。'],
  ),
  WRONG_PASSWORD: entry(
    ['Name or password is wrong.', 'Type them again.'],
    ['名前またはパスワードが違います。', 'もう一度入力してください。'],
  ),
  ACCOUNT_ALTERED: entry(
    [
      'The account {user} is not as this installation certified it: somebody changed the database.',
      'Restore a backup; until then this account opens nothing.',
    ],
    [
      'アカウント {user} はこの設備が証明した内容と一致しません。データベースが書き換えられています。',
      'バックアップから復元してください。それまでこのアカウントは使えません。',
    ],
  ),
  WRONG_CODE: entry(
    ['This badge or PIN belongs to no operator.', 'Try again, or sign in with name and password.'],
    ['このバッジまたは PIN のオペレーターはいません。', 'もう一度試すか、名前とパスワードでサインインしてください。'],
  ),
  TOO_MANY_ATTEMPTS: entry(
    ['Too many wrong passwords for {user}.', 'Wait {seconds} s.'],
    ['{user} のパスワード誤りが多すぎます。', '{seconds} 秒待ってください。'],
  ),
  TOO_MANY_CODES: entry(
    ['Too many wrong badges or PINs.', 'Wait {seconds} s, or sign in with name and password.'],
    ['バッジまたは PIN の誤りが多すぎます。', '{seconds} 秒待つか、名前とパスワードでサインインしてください。'],
  ),
  TOO_MANY_RECOVERY_CODES: entry(
    ['Too many wrong recovery codes.', 'Wait {seconds} s. Name and password work meanwhile.'],
    ['復旧コードの誤りが多すぎます。', '{seconds} 秒待ってください。名前とパスワードでのサインインは使えます。'],
  ),
  WEAK_PASSWORD: entry(
    [
      'This password is easy to guess.',
      'Take several words, no common password, no row such as 12345678, and not the name of the account.',
    ],
    [
      'このパスワードは推測されやすいものです。',
      '複数の単語を組み合わせ、よくあるもの、12345678 のような並び、アカウント名は避けてください。',
    ],
  ),
  PASSWORD_DUE: entry(
    [
      'The password of {user} was made by somebody else.',
      'Choose another one first: "users password", or in the window.',
    ],
    [
      '{user} のパスワードは他の人が設定したものです。',
      '先に自分のパスワードに変更してください（画面、または「users password」）。',
    ],
  ),
  TWO_PERSONS: entry(
    [
      'Whoever labelled most of it, taught it or made it may not approve {model} alone.',
      'Let another supervisor approve it: {who}. Where there is none, have one added.',
    ],
    [
      '{model} は、主にラベル付け・学習・作成をした本人だけでは承認できません。',
      '別の監督者が承認してください: {who}。いない場合は追加してください。',
    ],
  ),
  RECOVERY_REFUSED: entry(
    [
      'This recovery code and name do not fit together.',
      'Use the newest code; each works once, for an enabled supervisor.',
    ],
    [
      '復旧コードと名前の組み合わせが正しくありません。',
      '最新のコードを使ってください。有効な監督者に一度だけ使えます。',
    ],
  ),
  CANCELLED: entry(
    ['Cancelled.', 'Start it again when wanted.'],
    ['中止しました。', '必要ならもう一度開始してください。'],
  ),
  DISCONNECTED: entry(
    ['The connection to {peer} was lost.', 'It is being restarted; try again in a moment.'],
    ['{peer} との接続が切れました。', '再起動中です。少し待ってからもう一度実行してください。'],
  ),
  TIMED_OUT: entry(
    ['{what} did not answer within {seconds} s.', 'Try again; if it happens again, see the log.'],
    ['{what} が {seconds} 秒以内に応答しませんでした。', 'もう一度実行し、続く場合はログを確認してください。'],
  ),
  OVERLOADED: entry(
    ['Too much at once: the {what} takes {limit}.', 'Wait until the calls under way are done.'],
    ['要求が多すぎます: {what} の上限は {limit} です。', '実行中の処理が終わるまで待ってください。'],
  ),
  INTERNAL: entry(
    ['An internal error occurred (reference {ref}).', 'See the log under this reference.'],
    ['内部エラーが発生しました（参照 {ref}）。', 'この参照番号でログを確認してください。'],
  ),
  NOT_FOUND: entry(
    ['{kind} "{id}" does not exist.', 'Check the name, or choose one from the list.'],
    ['{kind}「{id}」はありません。', '名前を確認するか、一覧から選んでください。'],
  ),
  NO_LONGER_KEPT: entry(
    [
      'The record of {kind} {id} is no longer kept.',
      'How long records are kept stands under Settings; a backup of that time still has it.',
    ],
    [
      '{kind} {id} の記録は保存期間が過ぎたため削除されました。',
      '保存期間は設定にあります。当時のバックアップには残っています。',
    ],
  ),
  ALREADY_EXISTS: entry(
    ['{kind} "{id}" exists already.', 'Choose another name.'],
    ['{kind}「{id}」はすでにあります。', '別の名前にしてください。'],
  ),
  CONFLICT: entry(
    ['{what} is {state}; this needs {needed}.', 'Look how it stands now, and see to that first.'],
    [
      '今の状態では実行できません。{what}: {state}（必要: {needed}）。',
      '現在の状態を確認し、先に必要な状態にしてください。',
    ],
  ),
  CONFIG_INVALID: entry(
    ['{file} cannot be applied ({count} problems):\n{problems}', 'Correct the file; nothing of it was applied.'],
    ['{file} は適用できません（問題 {count} 件）:\n{problems}', 'ファイルを修正してください。何も適用されていません。'],
  ),
  // --- home and disk
  HOME_IN_USE: entry(
    [
      'The data folder {home} is in use by process {pid}.',
      'Close the other Mekiki, or choose another folder with --home.',
    ],
    [
      'データフォルダー {home} はプロセス {pid} が使用中です。',
      '他の Mekiki を終了するか、--home で別のフォルダーを指定してください。',
    ],
  ),
  HOME_NOT_WRITABLE: entry(
    [
      'The data folder {home} cannot be written: {problem}.',
      'Check its permissions, or choose another folder with --home.',
    ],
    [
      'データフォルダー {home} に書き込めません: {problem}。',
      '権限を確認するか、--home で別のフォルダーを指定してください。',
    ],
  ),
  PROFILE_NOT_WRITABLE: entry(
    [
      "The folder {folder}, where this account's window keeps what it needs, cannot be written: {problem}.",
      'Give the account a home folder that can be written, with room on its disk; on Linux XDG_CONFIG_HOME may name another one.',
    ],
    [
      'このアカウントの画面が使うフォルダー {folder} に書き込めません: {problem}。',
      'アカウントのホームフォルダーを、空きのある書き込み可能な場所にしてください。Linux では XDG_CONFIG_HOME で別の場所を指定できます。',
    ],
  ),
  HOME_NOT_DEMO: entry(
    ['{home} holds real data and cannot become a demo.', 'Give --demo an empty folder.'],
    ['{home} には実データがあるため、デモにはできません。', '--demo には空のフォルダーを指定してください。'],
  ),
  HOME_EMPTY: entry(
    [
      '{home} has no supervisor yet.',
      'Make one first, in its window or with "init --user NAME"; or use --demo on an empty folder.',
    ],
    [
      '{home} には監督者がまだ登録されていません。',
      '先に画面または「init --user 名前」で登録するか、空のフォルダーで --demo を使ってください。',
    ],
  ),
  DATABASE_CORRUPT: entry(
    [
      'The database {file} is damaged: {problem}.',
      'Nothing was changed. Run "mekiki --check --repair" (on the command line "check --repair"), or restore a backup.',
    ],
    [
      'データベース {file} が壊れています: {problem}。',
      '何も変更していません。「mekiki --check --repair」（コマンドラインでは「check --repair」）を実行するか、バックアップから復元してください。',
    ],
  ),
  DATABASE_TOO_NEW: entry(
    ['The database is of version {found}; this program knows up to {known}.', 'Install the newer Mekiki again.'],
    [
      'データベースは版 {found} です。このプログラムは版 {known} まで対応します。',
      '新しい Mekiki をインストールしてください。',
    ],
  ),
  DISK_FULL: entry(
    ['The disk of {path} is full.', 'Free some space. Inspection goes on; learning waits.'],
    ['{path} のディスクがいっぱいです。', '空き容量を増やしてください。検査は続き、学習は待機します。'],
  ),
  BACKUP_UNREADABLE: entry(
    ['{file} is not a whole Mekiki backup: {problem}.', 'Use another backup; nothing was changed.'],
    [
      '{file} は完全な Mekiki バックアップではありません: {problem}。',
      '別のバックアップを使ってください。何も変更していません。',
    ],
  ),
  BACKUP_LOCKED: entry(
    [
      'The password does not open {file}, or the backup was altered.',
      'Give the password that the account {user} had when it made the backup.',
    ],
    [
      'このパスワードでは {file} を開けないか、バックアップが改変されています。',
      'バックアップ作成時のアカウント {user} のパスワードを入力してください。',
    ],
  ),
  HOME_NOT_EMPTY: entry(
    ['{home} already holds data.', 'Restore into an empty folder with --home.'],
    ['{home} にはすでにデータがあります。', '--home で空のフォルダーを指定して復元してください。'],
  ),
  RESTORE_UNFINISHED: entry(
    [
      'A restore into {home} did not come to its end.',
      'Run it again with "mekiki --restore FILE --home {home}" (on the command line "restore FILE"); what lies there is replaced.',
    ],
    [
      '{home} への復元が完了していません。',
      'もう一度「mekiki --restore ファイル --home {home}」（コマンドラインでは「restore ファイル」）を実行してください。残っているものは置き換えられます。',
    ],
  ),
  DISK_LOW: entry(
    ['The disk of {path} has only {free} MB left: {what}.', 'Free some space. Inspection goes on.'],
    ['{path} のディスクの空きは {free} MB だけです。{what}。', '空き容量を増やしてください。検査は続きます。'],
  ),
  PORT_IN_USE: entry(
    ['Port {port} of this PC cannot be used: {problem}.', 'Choose another with --port, or leave it out.'],
    ['この PC のポート {port} は使えません: {problem}。', '--port で別の番号を指定するか、指定を省いてください。'],
  ),
  NO_KEYCHAIN: entry(
    [
      'The key of the new data folder {home} is to rest in the keychain, and this session has none: {problem}.',
      'Start again from a desktop session with an unlocked keychain, or without --keychain: then the key lies in a file that only this account may read.',
    ],
    [
      '新しいデータフォルダー {home} の鍵をキーチェーンに保管できません。このセッションにキーチェーンがありません: {problem}。',
      'キーチェーンのロックを解除したデスクトップで起動し直すか、--keychain を付けずに起動してください。その場合、鍵はこのアカウントだけが読めるファイルに置かれます。',
    ],
  ),
  KEY_SEALED: entry(
    [
      '"{name}" of {home} is sealed by a keychain that does not open it here: {problem}.',
      'Start the desktop program on the PC and with the account that made this data folder, with its keychain unlocked; or restore a backup into an empty folder.',
    ],
    [
      '{home} の「{name}」はキーチェーンで封印されていて、ここでは開けません: {problem}。',
      'このデータフォルダーを作成した PC とアカウントで、キーチェーンのロックを解除してデスクトップ版を起動するか、空のフォルダーにバックアップを復元してください。',
    ],
  ),
  ROOT_KEY_LOST: entry(
    ['The root key of {home} cannot be used: {problem}.', 'Restore the folders secrets and trust from a backup.'],
    [
      '{home} のルート鍵を使用できません: {problem}。',
      'secrets と trust フォルダーをバックアップから復元してください。',
    ],
  ),
  // --- images
  IMAGE_UNREADABLE: entry(
    ['{file} is not a readable image: {problem}.', 'Save it again as PNG, JPEG, BMP or TIFF.'],
    ['{file} は読み取れる画像ではありません: {problem}。', 'PNG、JPEG、BMP、TIFF で保存し直してください。'],
  ),
  IMAGE_TOO_LARGE: entry(
    [
      '{file} has {width} x {height} pixels; the limit is {limit}.',
      'Raise the limit in the recipe, or crop the image.',
    ],
    [
      '{file} は {width} x {height} 画素です。上限は {limit} です。',
      'レシピの上限を上げるか、画像を切り出してください。',
    ],
  ),
  IMAGE_ANIMATED: entry(
    ['{file} has {pages} pages or frames.', 'Save the one to be inspected as a single image.'],
    ['{file} には {pages} ページ（フレーム）あります。', '検査する 1 枚だけを保存してください。'],
  ),
  // --- data sets
  DATASET_NOT_FOUND: entry(
    [
      '{path} has no folder "{folder}" with a folder per class.',
      'Arrange the images as train/<class>/* and test/<class>/*.',
    ],
    [
      '{path} にクラスごとのフォルダーを持つ「{folder}」がありません。',
      'train/<クラス>/* と test/<クラス>/* の形にしてください。',
    ],
  ),
  DATASET_EMPTY: entry(
    ['{path} holds no image.', 'Add images, one folder per class.'],
    ['{path} に画像がありません。', 'クラスごとのフォルダーに画像を入れてください。'],
  ),
  DATASET_CLASSES_DIFFER: entry(
    ['Train and test have different classes: {difference}.', 'Give every class to both, or remove it from both.'],
    ['train と test のクラスが異なります: {difference}。', '両方に同じクラスを用意してください。'],
  ),
  TOO_FEW_IMAGES: entry(
    ['{what} has {found} image(s); {needed} are needed.', 'Label {missing} more.'],
    ['{what} の画像は {found} 枚です。{needed} 枚必要です。', 'あと {missing} 枚ラベルを付けてください。'],
  ),
  TOO_FEW_PER_CLASS: entry(
    [
      'Each class needs {needed} images, so that one can be held out; there are too few of {found}.',
      'Label more ({missing}), or leave these classes out.',
    ],
    [
      '検証には各クラス {needed} 枚の画像が必要ですが、足りません（{found}）。',
      '追加でラベルを付けるか（{missing}）、これらのクラスを除いてください。',
    ],
  ),
  TOO_FEW_CLASSES: entry(
    ['{found} class(es) have images; {needed} are needed.', 'Label parts of another class.'],
    ['画像のあるクラスは {found} 個です。{needed} 個必要です。', '別のクラスの部品にもラベルを付けてください。'],
  ),
  CONTRADICTING_LABELS: entry(
    ['The same image is in the classes {classes}: {file}.', 'Remove it from all but one.'],
    ['同じ画像が複数のクラス {classes} にあります: {file}。', '1 つを残して取り除いてください。'],
  ),
  BAD_CLASS_NAME: entry(
    ['"{name}" cannot be a class name: {problem}.', 'Choose another name.'],
    ['「{name}」はクラス名にできません: {problem}。', '別の名前にしてください。'],
  ),
  // --- models
  MODEL_UNREADABLE: entry(
    ['{file} is not a readable ONNX model: {problem}.', 'Export it again.'],
    ['{file} は読み取れる ONNX モデルではありません: {problem}。', 'もう一度書き出してください。'],
  ),
  MODEL_DATA_MISSING: entry(
    ['{file} keeps weights in "{location}": {problem}.', 'Put its data files into the same folder as the model.'],
    [
      '{file} の重みは「{location}」にあります: {problem}。',
      'データファイルをモデルと同じフォルダーに置いてください。',
    ],
  ),
  UNSUPPORTED_OP: entry(
    ['{op} (opset {opset}, node "{node}") is not supported here: {problem}.', 'Use a model without it.'],
    [
      '{op}（opset {opset}、ノード「{node}」）には対応していません: {problem}。',
      'これを含まないモデルを使ってください。',
    ],
  ),
  GRAPH_INVALID: entry(
    ['The graph is not valid at "{where}": {problem}.', 'Export the model again.'],
    ['グラフの「{where}」が正しくありません: {problem}。', 'モデルをもう一度書き出してください。'],
  ),
  BACKBONE_UNSUITABLE: entry(
    [
      '{file} cannot serve as backbone: {problem}.',
      'Choose an image classifier or feature extractor; name its outputs with --features if needed.',
    ],
    [
      '{file} はバックボーンとして使えません: {problem}。',
      '画像分類または特徴抽出のモデルを選び、必要なら --features で出力を指定してください。',
    ],
  ),
  MODEL_UNSUITABLE: entry(
    ['{file} cannot be worked on: {problem}.', 'Export it as is said there, or take another model.'],
    ['{file} は処理できません: {problem}。', '指摘のとおりに書き出し直すか、別のモデルを使ってください。'],
  ),
  BACKBONE_MISSING: entry(
    [
      'The backbone "{id}" is not installed.',
      'Add its file on the command line ("backbones add FILE") or restore a backup that has it; one that came with Mekiki comes with installing it again.',
    ],
    [
      'バックボーン「{id}」がありません。',
      'コマンドラインで追加する（「backbones add ファイル」）か、それを含むバックアップから復元してください。同梱のものは Mekiki を再インストールすると戻ります。',
    ],
  ),
  BACKBONE_NOT_MADE: entry(
    [
      'The shipped backbone "{id}" is not there and cannot be made: {problem}.',
      'Install Mekiki again; in a checkout run "npm ci" again.',
    ],
    [
      '同梱のバックボーン「{id}」がなく、作成もできません: {problem}。',
      'Mekiki を再インストールしてください。チェックアウトでは「npm ci」をもう一度実行してください。',
    ],
  ),
  FEATURES_NOT_FINITE: entry(
    ['The backbone gave values that are not numbers for {file}.', 'Check the image and the backbone.'],
    ['{file} に対するバックボーンの出力が数値ではありません。', '画像とバックボーンを確認してください。'],
  ),
  KNOWLEDGE_OF_OTHER_BACKBONE: entry(
    ['This knowledge was made with backbone {found}, not {needed}.', 'Use the matching backbone.'],
    ['この知識はバックボーン {needed} ではなく {found} で作られています。', '対応するバックボーンを使ってください。'],
  ),
  KNOWLEDGE_UNREADABLE: entry(
    ['{file} is not a readable knowledge file: {problem}.', 'Export it again; the knowledge is unchanged.'],
    [
      '{file} は読み取れる知識ファイルではありません: {problem}。',
      'もう一度書き出してください。知識は変わっていません。',
    ],
  ),
  SINGULAR_STATISTICS: entry(
    ['The statistics cannot be solved: {problem}.', 'Label more parts; the knowledge is unchanged.'],
    ['統計量から知識を計算できません: {problem}。', '部品をもっとラベル付けしてください。知識は変わっていません。'],
  ),
  NO_KNOWLEDGE: entry(
    ['Station {stationId} has no knowledge yet.', 'Label parts of at least two classes and run an update.'],
    ['ステーション {stationId} にはまだ知識がありません。', '2 クラス以上の部品にラベルを付けて更新してください。'],
  ),
  NO_ACTIVE_MODEL: entry(
    [
      'Station {stationId} has no active model.',
      'Approve a candidate and activate it, or use --demo on an empty folder.',
    ],
    [
      'ステーション {stationId} に有効なモデルがありません。',
      '候補を承認して有効にするか、空のフォルダーで --demo を使ってください。',
    ],
  ),
  NOT_APPROVED: entry(
    ['{model} may not inspect: {problem}.', 'Have it approved by a supervisor first.'],
    ['{model} は検査に使えません: {problem}。', '先に監督者の承認を受けてください。'],
  ),
  SIGNATURE_NEEDED: entry(
    ['This decision about {model} has to be signed.', 'Type your password and what the signature stands for.'],
    ['{model} に関するこの決定には署名が必要です。', 'パスワードと署名の意味を入力してください。'],
  ),
  GATE_FAILED: entry(
    ['{model} fails: {gates}.', 'Reject it, or label more parts and compress again.'],
    ['{model} は不合格です: {gates}。', '却下するか、ラベルを増やして圧縮し直してください。'],
  ),
  OTHER_ON_THIS_PC: entry(
    [
      '{model} does not do on this PC what its evidence promises: {gates}.',
      'Where only the time is too long, end other work and try again; else compress on this PC.',
    ],
    [
      '{model} はこの PC では証拠のとおりに動作しません: {gates}。',
      '時間だけが超過している場合は他の作業を終えてもう一度試し、それ以外はこの PC で圧縮し直してください。',
    ],
  ),
  WAIVER_NEEDED: entry(
    ['{model} has not enough evidence for: {gates}.', 'Label more parts, or write a reason for the waiver.'],
    ['{model} は証拠が足りません: {gates}。', 'ラベルを増やすか、免除の理由を書いてください。'],
  ),
  CHANGED_NOT_SEEN: entry(
    ['{count} changed verdict(s) of {model} have not been seen.', 'Look at each of them first.'],
    ['{model} の変わった判定 {count} 件がまだ確認されていません。', '先にすべて確認してください。'],
  ),
  ACTIVATION_MISSED: entry(
    [
      '{model} was to become active at {at}, and the program did not run then.',
      'Activate it now, or set another time.',
    ],
    [
      '{model} は {at} に有効になる予定でしたが、プログラムが動いていませんでした。',
      'いま有効にするか、別の時刻を指定してください。',
    ],
  ),
  GOLDEN_DUE: entry(
    ['{model} was not tried on the golden set as it is now.', 'Try it there first.'],
    ['{model} は現在のゴールデンセットでまだ評価されていません。', '先にゴールデンセットで評価してください。'],
  ),
  GOLDEN_LEAK: entry(
    [
      '{file} cannot judge: it was learnt, or looks nearly like the learnt picture {like}.',
      'Take pictures of other parts.',
    ],
    [
      '{file} は評価に使えません。学習済みか、学習済みの画像 {like} とほぼ同じです。',
      '別の部品の画像を使ってください。',
    ],
  ),
  GOLDEN_IMAGE: entry(
    ['Part {part} shows a picture of the golden set.', 'It judges and must not teach: label another part.'],
    [
      '部品 {part} はゴールデンセットの画像です。',
      '評価専用のため学習に使えません。別の部品にラベルを付けてください。',
    ],
  ),
  BUNDLE_ALTERED: entry(
    ['{file} does not match its hash or signature.', 'Make or export it again; it will not be used.'],
    ['{file} がハッシュまたは署名と一致しません。', '作り直すか書き出し直してください。使用しません。'],
  ),
  NOT_TRUSTED: entry(
    [
      '{file} comes from an installation that is not trusted here: {problem} (key {key}).',
      'Compare the key with the sender; a supervisor can then run "bundle trust {key}".',
    ],
    [
      '{file} はここで信頼していない設備のものです: {problem}（鍵 {key}）。',
      '送り主と鍵を照合してください。一致すれば、監督者が「bundle trust {key}」で信頼済みにできます。',
    ],
  ),
  REGISTRY_FAILED: entry(
    [
      'The registry {registry} failed at {name}: {problem}.',
      'Check address, account (MEKIKI_REGISTRY_USER, MEKIKI_REGISTRY_PASSWORD) and network.',
    ],
    [
      'レジストリ {registry} での {name} の処理に失敗しました: {problem}。',
      'アドレス、アカウント（MEKIKI_REGISTRY_USER、MEKIKI_REGISTRY_PASSWORD）、ネットワークを確認してください。',
    ],
  ),
  // --- updates
  NO_RELEASE_KEY: entry(
    ['This build knows no release key, so that it cannot tell whether {file} is genuine.', 'Use a released build.'],
    ['このビルドにはリリース鍵がないため、{file} が正規のものか確認できません。', 'リリース版を使ってください。'],
  ),
  UPDATE_REFUSED: entry(
    [
      '{file} is no update that can be believed: {problem}.',
      'Get it again from where it was released; do not install it.',
    ],
    [
      '{file} は信頼できる更新ではありません: {problem}。',
      '配布元から入手し直してください。インストールしないでください。',
    ],
  ),
  UPDATE_OLDER: entry(
    [
      '{file} holds version {found}, which is older than {running}.',
      'An older program refuses newer data: only together with a backup of that time, unpack it with --allow-downgrade.',
    ],
    [
      '{file} の版は {found} で、現在の {running} より古いものです。',
      '古いプログラムは新しいデータを開けません。当時のバックアップがある場合だけ --allow-downgrade で展開してください。',
    ],
  ),
  UPDATE_TOO_FAR: entry(
    ['{file} replaces version {needed} or newer; {running} runs here.', 'Install a version in between first.'],
    ['{file} は版 {needed} 以降を更新します。現在は {running} です。', '先に中間の版をインストールしてください。'],
  ),
  UPDATE_OTHER_PLATFORM: entry(
    ['{file} is for {found}; this PC is {running}.', 'Get the file for this kind of PC.'],
    ['{file} は {found} 用です。この PC は {running} です。', 'この種類の PC 用のファイルを入手してください。'],
  ),
  // --- training
  CHECKPOINT_DAMAGED: entry(
    ['The checkpoint {file} is damaged: {problem}.', 'Delete it; training then starts from the beginning.'],
    ['チェックポイント {file} が壊れています: {problem}。', '削除してください。学習は最初から始まります。'],
  ),
  CHECKPOINT_OTHER_RUN: entry(
    [
      'The checkpoint belongs to another training: {problem}.',
      'Name another checkpoint file, or train with the same settings and images as before.',
    ],
    [
      'チェックポイントは別の学習のものです: {problem}。',
      '別のファイル名にするか、前と同じ設定と画像で学習してください。',
    ],
  ),
  TFJS_NODE_UNUSABLE: entry(
    [
      '{folder} cannot be used as @tensorflow/tfjs-node: {problem}.',
      'Name a folder with the installed package, or leave the option out.',
    ],
    [
      '{folder} は @tensorflow/tfjs-node として使えません: {problem}。',
      'インストール済みパッケージのフォルダーを指定するか、この指定を外してください。',
    ],
  ),
  TRAINING_DIVERGED: entry(
    [
      'Training stopped at step {step}: {problem}. Kept: the state after step {kept}.',
      'Check the images and labels, or train with a lower learning rate.',
    ],
    [
      'ステップ {step} で学習を停止しました: {problem}。ステップ {kept} の状態は残っています。',
      '画像とラベルを確認するか、学習率を下げてください。',
    ],
  ),
  // --- line and camera
  INFERENCE_FAILED: entry(
    ['The model failed on part {part}: {problem}.', 'The part is unsure. Check the model under Models.'],
    ['部品 {part} の推論に失敗しました: {problem}。', '判定は保留です。モデル画面で確認してください。'],
  ),
  CAMERA_LOST: entry(
    ['Camera {cameraId} does not deliver: {problem}.', 'Check cable and power; it is tried again by itself.'],
    ['カメラ {cameraId} から画像が来ません: {problem}。', 'ケーブルと電源を確認してください。自動で再接続します。'],
  ),
  CAMERA_OPENS_SLOWLY: entry(
    [
      'Camera {cameraId} was not open after {seconds} s; the line stands.',
      'Check cable, power and network folder, then start the line again.',
    ],
    [
      'カメラ {cameraId} が {seconds} 秒以内に開きませんでした。ラインは停止しています。',
      'ケーブル・電源・ネットワークフォルダーを確認し、ラインをもう一度開始してください。',
    ],
  ),
  CAMERA_CLOSES_SLOWLY: entry(
    [
      'Camera {cameraId} was not closed after {seconds} s; the line stands and takes no more pictures.',
      'Check cable, power and network folder. The line can be started again as soon as the camera lets go.',
    ],
    [
      'カメラ {cameraId} が {seconds} 秒以内に閉じませんでした。ラインは停止し、画像は取り込まれません。',
      'ケーブル・電源・ネットワークフォルダーを確認してください。カメラが解放されれば、ラインを再開できます。',
    ],
  ),
  CAMERA_BUSY: entry(
    ['Camera {cameraId} is controlled by another program.', 'Close that program, or stop its line; it is tried again.'],
    [
      'カメラ {cameraId} は別のプログラムが制御しています。',
      'そのプログラムを終了するか、ラインを停止してください。自動で再試行します。',
    ],
  ),
  CAMERA_SHOWN: entry(
    [
      'Another window shows the picture of camera {cameraId}.',
      'Stop it there; once that window is closed it takes some seconds.',
    ],
    [
      '別の画面がカメラ {cameraId} の画像を表示しています。',
      'その画面で表示を停止してください。画面を閉じた場合は数秒お待ちください。',
    ],
  ),
  CAMERA_FEATURE: entry(
    [
      'Camera {cameraId}: {problem}.',
      'See in its manual what it offers (on the command line "camera features"), and correct the setting.',
    ],
    [
      'カメラ {cameraId}: {problem}。',
      '設定できる値をカメラの説明書（コマンドラインでは「camera features」）で確認し、修正してください。',
    ],
  ),
  CAMERA_BUFFER_SMALL: entry(
    [
      'The system gives camera {cameraId} {bytes} bytes of receive buffer; {least} are advised.',
      'Have the limit raised (Linux: net.core.rmem_max), or frames may be lost.',
    ],
    [
      'カメラ {cameraId} の受信バッファーは {bytes} バイトです。推奨は {least} バイト以上です。',
      '上限を上げてください（Linux: net.core.rmem_max）。画像が失われることがあります。',
    ],
  ),
  CAMERA_SILENT: entry(
    [
      'Camera {cameraId} answers and was started, but nothing has come from it for {seconds} s.',
      'Check whether a firewall on this PC stops UDP packets to Mekiki, and whether the camera waits for a trigger.',
    ],
    [
      'カメラ {cameraId} は応答し撮影を開始しましたが、{seconds} 秒間データが届いていません。',
      'この PC のファイアウォールが Mekiki への UDP パケットを遮断していないか、カメラがトリガー待ちになっていないか確認してください。',
    ],
  ),
  CAMERA_NO_RESEND: entry(
    [
      'Camera {cameraId} says that it can send lost packets again, and does not; incomplete pictures are dropped at once.',
      'Check cable and network card, and whether a firewall stops UDP port 3956 on the way to the camera.',
    ],
    [
      'カメラ {cameraId} は再送に対応していると示していますが、応答しません。欠けた画像はすぐに破棄します。',
      'ケーブルとネットワークカードを確認し、カメラへの UDP ポート 3956 がファイアウォールで遮断されていないか確認してください。',
    ],
  ),
  CAMERA_PIXELS: entry(
    ['Camera {cameraId} sends pixels of the format {format}, which cannot be read.', 'Choose Mono8 or RGB8 for it.'],
    ['カメラ {cameraId} の画素形式 {format} は読み取れません。', 'Mono8 または RGB8 を選んでください。'],
  ),
  CAMERA_CONFIG: entry(
    ['Camera {cameraId}: {problem}.', 'Correct it under Settings.'],
    ['カメラ {cameraId}: {problem}。', '設定画面で修正してください。'],
  ),
  CAMERA_NO_WINDOW: entry(
    [
      'Nobody reads the USB camera {cameraId}.',
      'Leave Mekiki open on this PC; in a browser: sign in, let the page use the camera, and leave its tab open.',
    ],
    [
      'USB カメラ {cameraId} を読み取る画面がありません。',
      'この PC で Mekiki を開いたままにしてください。ブラウザーの場合はサインインし、カメラの使用を許可して、タブを開いたままにしてください。',
    ],
  ),
  CAMERA_NOT_PERMITTED: entry(
    [
      'The window may not use the USB camera {cameraId}: {problem}.',
      "Allow the camera for this page in the browser, and for its program in the system's privacy settings.",
    ],
    [
      'USB カメラ {cameraId} の使用が許可されていません: {problem}。',
      'ブラウザーでこのページにカメラの使用を許可し、OS のプライバシー設定も確認してください。',
    ],
  ),
  LINE_OUTPUT_SILENT: entry(
    [
      'The control of the plant has asked for nothing for {seconds} s: results are held back.',
      'Check the PLC and the network cable.',
    ],
    [
      '設備の制御装置から {seconds} 秒間要求がありません。結果の出力を止めています。',
      'PLC とネットワークケーブルを確認してください。',
    ],
  ),
  LINE_OUTPUT_UNREACHABLE: entry(
    ['Nothing answers at {where}: {problem}.', 'Check address, port and cable, and that the other side is on.'],
    ['{where} から応答がありません: {problem}。', 'アドレス、ポート、ケーブル、相手機器の電源を確認してください。'],
  ),
  LINE_OUTPUT_FAILED: entry(
    [
      'The line output cannot listen on {where}: {problem}.',
      'Choose an address of this PC and a free port in the settings of the station.',
    ],
    [
      'ライン出力が {where} で待ち受けできません: {problem}。',
      '設定でこの PC のアドレスと空いているポートを選んでください。',
    ],
  ),
  DEMO_FORBIDS: entry(
    ['A demo folder does not allow {what}.', 'Set up a real folder for this.'],
    ['デモフォルダーでは使えません: {what}。', '本番用のフォルダーを作成してください。'],
  ),
  JOB_INTERRUPTED: entry(
    ['The job "{kind}" was interrupted when the program ended.', 'Start it again; nothing of it was kept.'],
    ['プログラムの終了により処理「{kind}」が中断されました。', 'もう一度開始してください。途中結果は残っていません。'],
  ),
  NO_PREVIOUS_MODEL: entry(
    ['Station {stationId} has no earlier model to go back to.', 'Activate an approved candidate instead.'],
    ['ステーション {stationId} には戻せる以前のモデルがありません。', '承認済みの候補を有効にしてください。'],
  ),
  TRAINER_FAILED: entry(
    ['The trainer stopped: {problem}.', 'Start the job again; what was learnt before is unchanged.'],
    ['学習プロセスが停止しました: {problem}。', 'もう一度開始してください。以前の学習結果は変わっていません。'],
  ),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof errorCatalogue;
export type Language = 'en' | 'ja';
type Detail = string | number | boolean | null;
export type ErrorDetails = Record<string, Detail>;

type NamesIn<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | NamesIn<Rest> : never;
type NamesOf<Code extends ErrorCode> = NamesIn<(typeof errorCatalogue)[Code]['en'][number]>;
/** What an error is made of: every detail that its text names. A code known only when it runs comes with those that it was thrown with. */
type Told<Code extends ErrorCode> = [ErrorCode] extends [Code]
  ? [details?: ErrorDetails, options?: { cause?: unknown }]
  : [NamesOf<Code>] extends [never]
    ? [details?: ErrorDetails, options?: { cause?: unknown }]
    : [details: ErrorDetails & Record<NamesOf<Code>, Detail>, options?: { cause?: unknown }];

/** Fills `{name}` from `details`; an unknown name stays visible rather than vanishing. */
const fill = (template: string, details: ErrorDetails): string =>
  template.replace(/\{(\w+)\}/g, (whole, key: string) => (key in details ? String(details[key]) : whole));

/** Message and next action of the catalogue, with the details filled in. */
export const errorText = (code: ErrorCode, details: ErrorDetails, language: Language = 'en') => {
  const [message, nextAction] = errorCatalogue[code][language];
  return { message: fill(message, details), nextAction: fill(nextAction, details) };
};

/** What crosses a wire for a failed call. `ref` finds the log lines of it. */
export const wireErrorSchema = z.object({
  code: z.string(),
  message: z.string(),
  nextAction: z.string(),
  ref: z.string(),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).default({}),
});
export type WireError = z.infer<typeof wireErrorSchema>;
/** The same where it is kept: in a state or a row. */
export const problemSchema = wireErrorSchema.omit({ ref: true });
export type Problem = z.infer<typeof problemSchema>;

/** An expected failure. Anything else that is thrown is a bug and reaches the caller as INTERNAL with a reference to the log. */
export class AppError<Code extends ErrorCode = ErrorCode> extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: Code, ...[details = {}, options]: Told<Code>) {
    super(errorText(code, details).message, options);
    this.name = 'AppError';
    this.code = code;
    this.details = details;
  }

  get nextAction(): string {
    return errorText(this.code, this.details).nextAction;
  }

  toProblem(): Problem {
    return { code: this.code, message: this.message, nextAction: this.nextAction, details: this.details };
  }

  toWire(ref: string): WireError {
    return { ...this.toProblem(), ref };
  }

  static fromWire(wire: WireError): AppError {
    const known = wire.code in errorCatalogue;
    return known
      ? new AppError(wire.code as ErrorCode, wire.details)
      : new AppError('INTERNAL', { ref: wire.ref, problem: wire.message });
  }
}

export const isAppError = (error: unknown, code?: ErrorCode): error is AppError =>
  error instanceof AppError && (code === undefined || error.code === code);

/** The words of any thrown value, for a `{problem}` in a message. */
export const problemOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What the system says of a file that a person named: NOT_FOUND where there is none, else INVALID_INPUT in its words, for it is there and may not be read, say. */
export const fileError = (kind: string, file: string, cause: unknown): AppError => {
  const { code } = cause as { code?: unknown };
  return code === 'ENOENT' || code === 'ENOTDIR'
    ? new AppError('NOT_FOUND', { kind, id: file }, { cause })
    : new AppError('INVALID_INPUT', { what: file, problem: problemOf(cause) }, { cause });
};

/** An expected failure as it is; a bug as INTERNAL with `ref`, by which its log lines are found. */
export const asAppError = (error: unknown, ref: string): AppError =>
  isAppError(error) ? error : new AppError('INTERNAL', { ref, problem: problemOf(error) }, { cause: error });

/** For bugs: states why the condition is known to hold. */
export function assert(condition: unknown, why: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${why}`);
}
