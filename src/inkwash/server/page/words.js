// What the page says, in both languages, and which one is spoken. The two tables have the same keys; a test looks.

const KEY = "inkwash.language";

export const TABLES = {
  en: {
    title: "Inkwash", skip: "Skip to the gallery", language: "Language", theme: "Theme", auto: "Auto", light: "Light", dark: "Dark",
    draw: "Draw", edit: "Edit", grids: "Grids", tools: "Tools", train: "Train", sections: "Sections", help: "Keyboard shortcuts", close: "Close",
    gallery: "Gallery", older: "Older pictures", empty: "Nothing drawn yet. Say what you would like to see, and press Draw.",
    loading: "The models are being loaded …", offline: "The server does not answer. Trying again …",
    model: "Model", prompt: "Prompt", hint: "a small red circle above a large blue square", class: "Class", anything: "any",
    count: "Pictures", seed: "Seed", random: "random", size: "Size", natural: "as the model draws", format: "File", previews: "Show pictures on their way",
    more: "More settings", reset: "Defaults", unprompted: "This model takes no prompt: it draws what it has seen.",
    cannot: "No model that is served here does this.",
    solver: "Solver", steps: "Steps", guidance: "Guidance", negative: "Not in the picture", grid: "Noise grid", shift: "Shift", rho: "Rho",
    interval: "Guidance interval", eta: "Eta", overshoot: "Overshoot", order: "Order", churn: "Churn", clamp: "Clamp", strength: "Strength",
    temperature: "Temperature", beams: "Beams", top_k: "Top k", top_p: "Top p", truncation: "Truncation", unset: "unset",
    other: "another", tooLarge: "At most {n} pixels.",
    from: "from", to: "to",
    restore: "Drop a picture anywhere to take up its settings, or", choose: "choose a picture", drop: "Drop it: its settings are taken up",
    restored: "Taken up from {file}: {what}.", restoredBut: "Taken up from {file}: {what}. Not known here: {missed}.", silent: "{file} does not say how it was made.",
    sent: "Sent.", queued: "waiting", ahead: "waiting, {n} before it", running: "drawing", done: "done", failed: "failed", cancelled: "cancelled",
    interrupted: "interrupted", percent: "{n} %", progress: "Progress", said: "{kind}: {state}",
    cancel: "Cancel", retry: "Try again", delete: "Delete", reuse: "Use these settings", download: "Download", upscale: "Enlarge",
    caption: "Describe", style: "Style", generate: "Draw", training: "Training", made: "Made at, then scaled", before: "Previous picture", after: "Next picture",
    facts: "How it was made", doubted: "The judge doubts “{what}”.", reallyDelete: "Delete this and its pictures?",
    picture: "Picture", photograph: "Photograph", painting: "Painting", keepColour: "Keep the photograph's colours", scale: "Times",
    describeIn: "In", english: "English", chinese: "Chinese", interpolation: "{name}, without a model",
    upscaleNote: "Makes a picture larger.", styleNote: "Paints a photograph in the manner of a painting.", captionNote: "Says what is in a picture.",
    noPicture: "Choose a picture first.", editNote: "Paint over what shall be made anew. Without a mask the whole picture is redrawn, as much as Strength says.",
    editHere: "Drop a picture here, choose one, or take one from the gallery.", noMask: "No mask: the whole picture",
    masked: "{n} % of the picture will be made anew", another: "Another picture",
    brush: "Brush", eraser: "Eraser", brushSize: "Brush size", undo: "Undo", redo: "Redo", zoomIn: "Zoom in", zoomOut: "Zoom out", fit: "Fit",
    invert: "Invert", clear: "Clear", importMask: "Open mask", exportMask: "Save mask", maskSize: "The mask is {a}, the picture {b}: they need the same size.",
    stage: "Mask. Arrow keys move the brush, Enter paints, Space with the mouse pans.", at: "{x}, {y}: {what}", painted: "painted", bare: "bare",
    recipe: "Recipe", data: "Data", budget: "Budget", name: "Name", start: "Begin from", teacher: "Learn from", plan: "After the plans of", settings: "Further settings", nothing: "nothing",
    archive: "Or a zip of pictures", begin: "Begin training", off: "Training is switched off on this server.", trainings: "Trainings", noTrainings: "No training yet.",
    settingsHint: "train.batch = 16", badSetting: "A setting is “name = value”, one a line: {line}", curve: "Curve of {name}, {n} points, now {value}", sample: "Sample at {name}",
    figure: "Figure", trainNote: "A model that has been trained is served at once, beside the others.", stop: "Stop",
    axisX: "X, columns", axisY: "Y, rows", axisZ: "Z, sheets", valuesOf: "Values of {axis}", none: "none", drawGrid: "Draw the grid",
    axesNote: "A picture for each combination. Values between commas, texts between |, 1-4 for a range.",
    noGrids: "No grid yet.", olderGrids: "Older grids", cells: "{done} of {n}: {state}", resume: "Go on", removed: "some deleted",
    key: "API key", keyAsk: "This server wants a key. It is kept until this tab is closed.", keyWrong: "That key was not right.", enter: "Enter",
    shortDraw: "draw, or send the form you are in", shortClose: "close a window", shortUndo: "undo and redo, on the mask", shortArrows: "move the brush; Shift in large steps",
    shortEnter: "paint where the brush is", shortSize: "a smaller or a larger brush", shortTools: "brush, eraser, invert", shortZoom: "zoom; the wheel does too", shortPan: "with the mouse: pan, as its middle button does",
    shortTabs: "go between the sections", shortPictures: "in a large picture: the one before, the next",
  },
  zh: {
    title: "水墨", skip: "跳到画廊", language: "语言", theme: "主题", auto: "自动", light: "浅色", dark: "深色",
    draw: "作画", edit: "修改", grids: "格子图", tools: "工具", train: "训练", sections: "栏目", help: "键盘快捷键", close: "关闭",
    gallery: "画廊", older: "更早的图片", empty: "还没有画。写下想看的画面，再按“作画”。",
    loading: "正在载入模型……", offline: "服务器没有回应，正在重试……",
    model: "模型", prompt: "提示词", hint: "大的蓝色正方形上方有一个小的红色圆形", class: "类别", anything: "任意",
    count: "张数", seed: "种子", random: "随机", size: "尺寸", natural: "按模型原样", format: "文件", previews: "显示作画过程",
    more: "更多设置", reset: "恢复默认", unprompted: "这个模型不读提示词，只画它见过的。",
    cannot: "这里没有能做这件事的模型。",
    solver: "求解器", steps: "步数", guidance: "引导强度", negative: "不要出现", grid: "噪声网格", shift: "偏移", rho: "Rho",
    interval: "引导区间", eta: "Eta", overshoot: "过冲", order: "阶数", churn: "扰动", clamp: "截断", strength: "强度",
    temperature: "温度", beams: "束宽", top_k: "Top k", top_p: "Top p", truncation: "截断幅度", unset: "未设",
    other: "其他", tooLarge: "最多 {n} 像素。",
    from: "起", to: "止",
    restore: "把图片拖到页面任意处即可取回其设置，或", choose: "选择图片", drop: "松手即取回这张图片的设置",
    restored: "已从 {file} 取回：{what}。", restoredBut: "已从 {file} 取回：{what}。这里不认识：{missed}。", silent: "{file} 没有写明是怎样画成的。",
    sent: "已提交。", queued: "等待中", ahead: "等待中，前面还有 {n} 个", running: "进行中", done: "完成", failed: "失败", cancelled: "已取消",
    interrupted: "被中断", percent: "{n}%", progress: "进度", said: "{kind}：{state}",
    cancel: "取消", retry: "再试一次", delete: "删除", reuse: "使用这些设置", download: "下载", upscale: "放大",
    caption: "描述", style: "风格", generate: "作画", training: "训练", made: "原尺寸（后经缩放）", before: "上一张", after: "下一张",
    facts: "创作信息", doubted: "评判者对“{what}”存疑。", reallyDelete: "删除这一项和它的图片吗？",
    picture: "图片", photograph: "照片", painting: "画作", keepColour: "保留照片的颜色", scale: "倍数",
    describeIn: "语言", english: "英文", chinese: "中文", interpolation: "{name}，不用模型",
    upscaleNote: "把图片放大。", styleNote: "用一幅画的风格重绘照片。", captionNote: "说出图片里有什么。",
    noPicture: "请先选择一张图片。", editNote: "涂抹要重画的地方。不涂则整张重画，程度由“强度”决定。",
    editHere: "把图片拖到这里，选择一张，或从画廊里取一张。", noMask: "没有蒙版：整张图片",
    masked: "图片的 {n}% 将重画", another: "换一张图片",
    brush: "画笔", eraser: "橡皮", brushSize: "笔刷大小", undo: "撤销", redo: "重做", zoomIn: "放大视图", zoomOut: "缩小视图", fit: "适合窗口",
    invert: "反选", clear: "清除", importMask: "打开蒙版", exportMask: "保存蒙版", maskSize: "蒙版是 {a}，图片是 {b}：两者尺寸必须相同。",
    stage: "蒙版。方向键移动画笔，回车涂抹，按住空格用鼠标平移。", at: "{x}, {y}：{what}", painted: "已涂", bare: "未涂",
    recipe: "配方", data: "数据", budget: "时长", name: "名称", start: "从此开始", teacher: "向它学习", plan: "按它的方案", settings: "其他设置", nothing: "从零开始",
    archive: "或上传图片压缩包（zip）", begin: "开始训练", off: "这台服务器没有开放训练。", trainings: "训练记录", noTrainings: "还没有训练。",
    settingsHint: "train.batch = 16", badSetting: "每行一个设置，写作“名称 = 值”：{line}", curve: "{name} 的曲线，{n} 个点，现为 {value}", sample: "{name} 时的样张",
    figure: "指标", trainNote: "训练好的模型会立即加入服务。", stop: "停止",
    axisX: "X，列", axisY: "Y，行", axisZ: "Z，页", valuesOf: "{axis} 的取值", none: "无", drawGrid: "画格子图",
    axesNote: "每种组合各画一张。取值用逗号隔开，文字用 | 隔开，1-4 表示一段范围。",
    noGrids: "还没有格子图。", olderGrids: "更早的格子图", cells: "{done}/{n}：{state}", resume: "继续", removed: "部分已删除",
    key: "API 密钥", keyAsk: "这台服务器需要密钥。关闭此标签页后不再保留。", keyWrong: "密钥不对。", enter: "进入",
    shortDraw: "作画，或提交当前表单", shortClose: "关闭窗口", shortUndo: "在蒙版上撤销、重做", shortArrows: "移动画笔；按住 Shift 走大步",
    shortEnter: "在画笔处涂抹", shortSize: "缩小或放大笔刷", shortTools: "画笔、橡皮、反选", shortZoom: "缩放；滚轮亦可", shortPan: "配合鼠标平移；按住中键亦可",
    shortTabs: "在栏目之间移动", shortPictures: "看大图时：上一张、下一张",
  },
};

const preferred = () => (navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase();
let spoken = localStorage.getItem(KEY) ?? (preferred().startsWith("zh") ? "zh" : "en");
if (!(spoken in TABLES)) spoken = "en";

export const language = () => spoken;
export const knows = (key) => key in TABLES.en;

export function speak(which) {
  spoken = which;
  localStorage.setItem(KEY, which);
}

/** The words of a key, {values} put in. A value that is a key itself, written as $key, is put into words too. */
export function t(key, values = {}) {
  const words = TABLES[spoken][key] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => {
    const value = String(values[name] ?? "");
    return value.startsWith("$") ? t(value.slice(1)) : value;
  });
}
