"""What sources call their splits: words of many languages, with what stands around them, and names that users declare.

A name stands for a split if it is one of these words once words such as `set`, `images` or a number are taken off:
`train`, `Test Images`, `01_val`, `Trainingsdaten`, `训练集`. In `fer_train` something is left over; it stands for one
if another split's name lies beside it: `fer_test`. A label is never a split.
"""

import functools
import json
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from fer import plain_text

Split = Literal["train", "validation", "test"]

_WORDS: dict[Split, str] = {
    "train": "train trian tarin trains training trainings trn entrenamiento treino treinamento entraino "
    "entrainement apprentissage lern addestramento allenamento trenowanie treningowy treningowe "
    "treningowa trening uczacy uczace trenovaci trenink тренировка тренировочная тренировочные "
    "тренировочный тренировочныи трейн треин обучение обучающая обучающие обучающий обучающии навчання "
    "навчальна навчальнии тренувальна egitim antrenman 训练 訓練 学習 トレーニンク 훈련 학습 트레이닝 "
    "تدريب التدريب آموزش اموزش प्रशिक्षण huanluyen latih latihan pelatihan traning treni treening "
    "koulutus harjoitus opetus tanito tanulo antrenament antrenare εκπαιδευση אימון ฝึก entrenament",
    "validation": "val vaild valdi vals valid vld validation validaton validaiton validate validating public "
    "publictest dev devel development eval evaluation validacion validacio validacao validierung validierungs "
    "validazione validatie walidacja walidacyjny walidacyjne walidacyjna validace validacni валидация "
    "валидационная валидационные валидационный валидационныи валидаци проверочная валідація валідаціина "
    "dogrulama gecerleme 验证 驗證 开发 開發 検証 バリテーション 검증 밸리데이션 تحقق التحقق اعتبارسنجی "
    "सत्यापन kiemdinh xacthuc validasi validering validointi validacios validare επικυρωση אימות",
    "test": "test tets tset tests testing tst private privatetest prueba pruebas teste testes essai essais "
    "prufung prova testowy testowe testowa testy testovaci тест тесты тестовая тестовые тестовый тестовыи "
    "тестова тестування sinama 测试 測試 テスト 試験 테스트 시험 اختبار الاختبار تست آزمون ازمون परीक्षण "
    "kiemtra kiemthu uji pengujian testi teszt testare δοκιμη τεστ מבחן ทดสอบ",
}
_AFFIXES_OF_WORDS = (  # what stands around such a word without changing it
    "datasets dataset datas data sets set subset split splits folder images image imgs img pictures pics "
    "photos faces face files labels label annotations annotation list batch phase copy cropped aligned "
    "resized datensatz daten menge satz bilder bild kopie conjuntode conjunto datosde datos imagenesde "
    "imagenes imagens dadosde dados donneesde donneesd donnees jeude jeud jeu ensemblede ensembled ensemble "
    "imagesde imagesd insiemedi insieme datidi dati immagini zbior dane obrazy выборка набор данные данных "
    "изображения картинки veriseti verileri verisi veri seti kumesi goruntuleri 数据集 數據集 数据 數據 资料 "
    "資料 图片 圖片 图像 圖像 样本 集 用 データセット データ セット 画像 데이터셋 데이터 세트 셋 이미지 용 "
    "مجموعة بيانات صور taphinhanh tapdulieu dulieu"
)
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WEAK = frozenset(("public", "private", "valid", "dev", "lern", "prova", "essai"))  # common words: alone only
_OFFICIAL_PREFIX = re.compile(r"(Training|PublicTest|PrivateTest)_")  # of FER2013's files
_BEGIN = re.compile(r"([^\W\d_]+)[ _.-]*(?=\d)")
_END = re.compile(r"(?<=\d)[ _.-]+([^\W\d_]+)(?:\.[^.]*)?$")
_HELD_OUT = ("holdout", "heldout", "unseen")
_SHOWN = 6  # of what looks like a split
_LOOKALIKE = re.compile(r"(k?fold|split|cv|holdout|heldout|unseen)[0-9]*")


def fold(name: str) -> str:
    """`name` in lower case, with letters and digits only and without accents: what names of splits are compared by."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(character for character in plain if character.isalnum())


_BUILT_IN: dict[str, Split] = {fold(word): ours for ours, words in _WORDS.items() for word in words.split()}
_AFFIXES = tuple(map(fold, _AFFIXES_OF_WORDS.split()))
_NUMBER_BEFORE = re.compile(r"^[0-9]+")
_NUMBER_AFTER = re.compile(r"(?:v|[0-9]+x)?[0-9]+(?:px)?$")
_LONGEST_NAME = 64  # characters of a folded name that may stand for a split


def _without_an_affix(core: str) -> Iterator[str]:
    """What is left of a folded name once one word or number before or after it is taken off."""
    for affix in _AFFIXES:
        if core.startswith(affix):
            yield core.removeprefix(affix)
        if core.endswith(affix):
            yield core.removesuffix(affix)
    yield _NUMBER_BEFORE.sub("", core, count=1)
    yield _NUMBER_AFTER.sub("", core, count=1)


def likely(name: str, otherwise: Split) -> Split:
    """Which split a name may mean that is not known as one."""
    tokens = [fold(token) for part in _CAMEL.split(name) for token in _TOKEN.findall(part)]
    if fold(name).startswith(_HELD_OUT):
        return "test"
    return next((_BUILT_IN[token] for token in tokens if token in _BUILT_IN), otherwise)


class SplitNames:
    """Which names of a source stand for its splits.

    `declared`: name -> ours, before the words known here. `images` and `tables` are the paths of the source's files,
    which decide what a longer name stands for; `labels` are never splits, unless declared.
    """

    def __init__(
        self,
        declared: Mapping[str, Split] | None = None,
        images: Sequence[str] = (),
        tables: Sequence[str] = (),
        labels: Collection[str] = (),
    ):
        self._declared = {fold(name): ours for name, ours in (declared or {}).items()}
        self._labels = {fold(label) for label in labels} - self._declared.keys()
        self._cached_word = functools.lru_cache(maxsize=4_096)(self._word)
        self._word_of_path: dict[str, str] = {}  # of folders and tables that stand for a split beside others
        self._label_of_path: dict[str, str] = {}  # of folders that name a label as well: `happy_train`
        self._is_by_file_name = False
        self._tables = frozenset(tables)
        self.lookalikes: dict[str, int] = {}  # folder, or word in file names -> images that have no other split
        self._look_around(images)

    def ours(self, raw: str | None) -> Split | None:
        """Which of our splits a name in the manifest stands for."""
        key = fold(raw or "")
        return self._declared.get(key) or _BUILT_IN.get(key)

    def of(self, name: str) -> str | None:
        """The word for a split that `name`, of a folder or table or in a cell, is: as it stands, or `train` of
        `train_set`.
        """
        return self._cached_word(name)

    def of_folder(self, path: str) -> str | None:
        """The word for a split that the last folder of `path` stands for."""
        return self._word_of_path.get(path) or self.of(path.rpartition("/")[2])

    def label_of_folder(self, path: str) -> str | None:
        """The label that the last folder of `path` names, unless it only stands for a split."""
        if path in self._label_of_path:
            return self._label_of_path[path]
        return None if self.of_folder(path) is not None else path.rpartition("/")[2]

    def of_folders(self, path: str) -> str | None:
        """The word for a split that the deepest of the folders above a file stands for, if any does."""
        return next(filter(None, map(self.of_folder, _folders(path))), None)

    def of_table(self, path: str) -> str | None:
        """The word for a split that the name of a table stands for, whatever its folders are."""
        return self._word_of_path.get(path) or self.of(PurePosixPath(path).stem)

    def of_image(self, path: str) -> str | None:
        """The word for a split that an image's path says: by the beginning of its name, or by its folders."""
        name = path.rpartition("/")[2]
        if official := _OFFICIAL_PREFIX.match(name):
            return official[1]
        return self._in_file_name(name) if self._is_by_file_name else self.of_folders(path)

    def warnings(self, of_source: str) -> tuple[str, ...]:
        """A line if something looks like a split and is not used as one; `of_source` is said of it."""
        if not self.lookalikes:
            return ()
        most = sorted(self.lookalikes.items(), key=lambda item: (-item[1], item[0]))
        shown = [f"{plain_text.quoted(path)} ({count:,} images)" for path, count in most[:_SHOWN]]
        shown += [f"{len(most) - _SHOWN:,} more"] if len(most) > _SHOWN else []
        names = dict.fromkeys(path.rpartition("/")[2] for path, _ in most[:_SHOWN] if not path.endswith("…"))
        example = json.dumps({name: likely(name, "train") for name in names}, ensure_ascii=False)
        how = f"by --set {shlex.quote(f'split.official={example}')}" if names else "by folders of their names"
        return (
            f"{', '.join(shown)} {of_source}look like splits of the source, and are not used as such. Say {how} "
            "what they are, or by --set split.use_official=false that splits are to be drawn",
        )

    def _word(self, name: str) -> str | None:
        whole = name.strip()
        core = fold(whole)
        if core in self._declared:
            return whole
        if core in self._labels:
            return None
        if core in _BUILT_IN:
            return whole
        cores = {core} if len(core) <= _LONGEST_NAME else set()
        while cores:
            if found := sorted(core for core in cores if core in _BUILT_IN or core in self._declared):
                return found[0]
            cores = {shorter for core in cores for shorter in _without_an_affix(core)} - cores
        return None

    def _of_path(self, path: str) -> str | None:
        return self.of_table(path) if path in self._tables else self.of_folder(path)

    def _in_file_name(self, name: str) -> str | None:
        """The word for a split before or after the number of a file's name: `train_00001.jpg`, `00001_test.jpg`."""
        for match in (_BEGIN.match(name), _END.search(name)):
            if match and self._cached_word(match[1]) == match[1]:
                return match[1]
        return None

    def _look_around(self, images: Sequence[str]) -> None:
        """Learn from all paths of the source which longer names stand for a split, and which only look so."""
        children: dict[str, set[str]] = defaultdict(set)
        for path in {folder for image in images for folder in _folders(image)} | self._tables:
            children[path.rpartition("/")[0]].add(path)
        looks_like_one: set[str] = set()
        for siblings in children.values():
            in_name = {}
            labelled = {}
            for path in siblings:
                word, rest = self._word_within(path)
                if word is not None:
                    in_name[path] = word
                    if rest is not None:
                        labelled[path] = rest
            known = {self.ours(word) for path in siblings if (word := self._of_path(path)) is not None}
            if len(known | {self.ours(word) for word in in_name.values()}) > 1:
                self._word_of_path |= in_name | self._common_words_beside(in_name, siblings)
                self._label_of_path |= labelled
            else:
                looks_like_one |= in_name.keys()
            looks_like_one |= {path for path in siblings if self._is_lookalike(path)}
        without = [path for path in images if self.of_folders(path) is None]
        if len(without) == len(images):
            self._look_at_file_names(images)
            if not self._is_by_file_name:
                looks_like_one |= set(self._look_at_structure(children))
        if not self._is_by_file_name:
            counts = Counter(folder for path in without for folder in _folders(path) if folder in looks_like_one)
            self.lookalikes |= {folder: count for folder, count in counts.items() if count < len(images)}

    def _is_lookalike(self, path: str) -> bool:
        return self._of_path(path) is None and _LOOKALIKE.fullmatch(fold(path.rpartition("/")[2])) is not None

    def _word_within(self, path: str) -> tuple[str | None, str | None]:
        """The word for a split in the last part of a path that is none by itself, and the label beside it, if any."""
        name = path.rpartition("/")[2]
        if self._of_path(path) is not None or fold(name) in self._labels:
            return None, None
        tokens = [token for part in _CAMEL.split(name) for token in _TOKEN.findall(part)]
        words = [token for token in tokens if fold(token) not in _WEAK and self.ours(token)]
        if len({self.ours(word) for word in words}) != 1:
            return None, None
        rest = [token for token in tokens if token not in words]
        if fold("".join(rest)) in self._labels:
            return fold(words[0]), " ".join(rest)
        return (fold(words[0]), None) if self._labels.isdisjoint(map(fold, rest)) else (None, None)

    def _common_words_beside(self, in_name: Mapping[str, str], siblings: Collection[str]) -> dict[str, str]:
        """The siblings with a common word for a split and otherwise the name of one that has another: `FER2013Valid`
        beside `FER2013Train`.
        """
        rests = {self._tokens_beside(path, self.ours)[1] for path in in_name} - {""}
        found = {path: self._tokens_beside(path, _WEAK.__contains__) for path in siblings if path not in in_name}
        return {path: words[0] for path, (words, rest) in found.items() if len(words) == 1 and rest in rests}

    def _tokens_beside(self, path: str, is_word: Callable[[str], object]) -> tuple[list[str], str]:
        """The words for splits in the last part of a path, and the rest of it, folded."""
        name = path.rpartition("/")[2]
        tokens = [fold(token) for part in _CAMEL.split(name) for token in _TOKEN.findall(part)]
        return [token for token in tokens if is_word(token)], "".join(token for token in tokens if not is_word(token))

    def _look_at_structure(self, children: Mapping[str, set[str]]) -> Iterator[str]:
        """Two or three folders beside each other that have the same labels below them."""
        for siblings in children.values():
            folders = {path: self._labels_below(path, children) for path in siblings if path in children}
            if len(folders) in (2, 3) and all(len(labels) > 1 for labels in folders.values()):
                yield from folders

    def _labels_below(self, path: str, children: Mapping[str, set[str]]) -> set[str]:
        return self._labels & {fold(child.rpartition("/")[2]) for child in children.get(path, ())}

    def _look_at_file_names(self, images: Sequence[str]) -> None:
        words = (self._in_file_name(path.rpartition("/")[2]) for path in images)
        counts = Counter(word for word in words if word is not None)
        if len({self.ours(word) for word in counts}) > 1:
            self._is_by_file_name = counts.total() == len(images)
            if not self._is_by_file_name:
                self.lookalikes |= {f"…{word}…": count for word, count in counts.items()}


def _folders(path: str) -> Iterator[str]:
    """The paths of the folders above a file, the deepest first."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
