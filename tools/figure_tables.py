"""What the tables of measured figures hold: for each, the heads of its first column and of the others with the ends of their keys in
docs/figures.json; and its rows with the beginnings of theirs. `fill_figures.py` writes them into the pages."""

from text_tables import TABLES as TEXT

OPERATORS = (
    "convolution_backward",
    "mkldnn_convolution",
    "bmm",
    "mm",
    "addmm",
    "copy_",
    "native_group_norm",
    "native_group_norm_backward",
    "hardswish",
    "hardswish_backward",
    "addcmul",
    "mul",
    "add",
    "add_",
    "pixel_unshuffle",
)
SOLVERS = ("ddim", "ddpm", "heun", "dpmpp-2m", "dpmpp-2m-sde", "unipc")
SAMPLERS = ((14, 0.9, 1.4), (14, 0.9, 1), (14, 0.5, 1.4), (14, 0, 1), (20, 0.9, 1.4), (20, 0, 1), (50, 0, 1))

CAUSAL = {
    "pixelcnn": "pixelcnn",
    "gated": "gated-pixelcnn",
    "row": "row-lstm",
    "diagonal": "diagonal-lstm",
    "transformer": "pixel-transformer",
}

TABLES = TEXT | {
    "fashion": (
        {"en": "Fashion-MNIST, 10 minutes each", "zh": "Fashion-MNIST，各训练 10 分钟"},
        {
            "fd": {"en": "FD", "zh": "FD"},
            "kid": {"en": "KID", "zh": "KID"},
            "precision": {"en": "precision", "zh": "精确率"},
            "recall": {"en": "recall", "zh": "召回率"},
            "coverage": {"en": "coverage", "zh": "覆盖率"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
            "seconds_per_image": {"en": "sampling, s/image", "zh": "采样，秒/张"},
        },
        {
            "fashion.floor": {"en": "held-out real images (floor)", "zh": "留出的真实图像（下限）"},
            "fashion.diffusion": {"en": "`diffusion`", "zh": "`diffusion`"},
            "fashion.gan": {"en": "`gan`", "zh": "`gan`"},
            "fashion.vae": {"en": "`vae`", "zh": "`vae`"},
            "fashion.laptop": {"en": "`diffusion`, AVX2 only, fp32, batches of 64", "zh": "`diffusion`，仅用 AVX2，fp32，批大小 64"},
        },
    ),
    "peers": (
        {"en": "10 minutes of one sitting, FD", "zh": "同一次测量中的 10 分钟，FD"},
        {
            "fd": {"en": "our extractor", "zh": "我们的特征网络"},
            "squeeze": {"en": "SqueezeNet", "zh": "SqueezeNet"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
        },
        {
            "peers.inkwash": {"en": "`inkwash train diffusion`", "zh": "`inkwash train diffusion`"},
            "peers.three": {"en": "the same after 3 minutes", "zh": "同上，训练 3 分钟"},
            "peers.hour": {"en": "the same after 60 minutes, `train.compile=true`", "zh": "同上，训练 60 分钟，`train.compile=true`"},
            "peers.hour24": {"en": "that run sampled with `--steps 24`", "zh": "该次训练，用 `--steps 24` 采样"},
            "peers.first": {"en": "its first recipe, a usual U-Net", "zh": "它最初的配方，常见的 U-Net"},
            "peers.diffusers": {"en": "diffusers' `UNet2DModel`", "zh": "diffusers 的 `UNet2DModel`"},
        },
    ),
    "cifar": (
        {"en": "CIFAR-10 (JPEG), 60 minutes", "zh": "CIFAR-10（JPEG），60 分钟"},
        {
            "fd": {"en": "FD", "zh": "FD"},
            "squeeze": {"en": "SqueezeNet", "zh": "SqueezeNet"},
            "bound": {"en": "bits/dim (bound)", "zh": "bits/dim（变分界）"},
            "density": {"en": "bits/dim, density", "zh": "bits/dim，密度"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
        },
        {
            "cifar.floor": {"en": "held-out real images (floor)", "zh": "留出的真实图像（下限）"},
            "cifar.hour": {"en": "`inkwash train diffusion`", "zh": "`inkwash train diffusion`"},
        },
    ),
    "train_step": (
        {"en": "training step, images/s", "zh": "训练步，张/秒"},
        {
            "inkwash": {"en": "Inkwash", "zh": "Inkwash"},
            "diffusers_fp32": {"en": "diffusers, fp32", "zh": "diffusers，fp32"},
            "diffusers_bf16": {"en": "diffusers, bf16", "zh": "diffusers，bf16"},
            "ratio_fp32": {"en": "times its fp32", "zh": "对其 fp32 的倍数"},
            "ratio_bf16": {"en": "times its bf16", "zh": "对其 bf16 的倍数"},
        },
        {
            "train_step.server": {"en": "server (AMX)", "zh": "服务器（AMX）"},
            "train_step.laptop": {"en": "laptop (AVX2 only)", "zh": "笔记本（仅 AVX2）"},
        },
    ),
    "profile": (
        {"en": "operator, ms", "zh": "算子，毫秒"},
        {
            "server_train": {"en": "training, server", "zh": "训练，服务器"},
            "laptop_train": {"en": "training, laptop", "zh": "训练，笔记本"},
            "server_sample": {"en": "sampling, server", "zh": "采样，服务器"},
            "laptop_sample": {"en": "sampling, laptop", "zh": "采样，笔记本"},
        },
        {
            "profile.step": {"en": "the whole step", "zh": "整个一步"},
            **{f"profile.{name}": {"en": f"`{name}`", "zh": f"`{name}`"} for name in OPERATORS},
        },
    ),
    "few": (
        {"en": "FD, 2,500 images", "zh": "FD，2,500 张图像"},
        {
            "fd1": {"en": "1 evaluation", "zh": "1 次求值"},
            "fd2": {"en": "2", "zh": "2"},
            "fd4": {"en": "4", "zh": "4"},
            "fd8": {"en": "8", "zh": "8"},
            "fd50": {"en": "50", "zh": "50"},
        },
        {
            "few.teacher": {"en": "teacher, `dpmpp-2m`", "zh": "老师，`dpmpp-2m`"},
            "few.student": {"en": "student", "zh": "学生"},
        },
    ),
    "solvers": (
        {"en": "FD, 2,500 images", "zh": "FD，2,500 张图像"},
        {
            "fd5": {"en": "5 evaluations", "zh": "5 次求值"},
            "fd10": {"en": "10", "zh": "10"},
            "fd14": {"en": "14", "zh": "14"},
            "fd20": {"en": "20", "zh": "20"},
            "fd50": {"en": "50", "zh": "50"},
            "fd1000": {"en": "1000", "zh": "1000"},
        },
        {
            "solvers.default": {"en": "default", "zh": "默认"},
            "solvers.plain": {"en": "`dpmpp-2m`, `eta=0`, `overshoot=1`", "zh": "`dpmpp-2m`，`eta=0`，`overshoot=1`"},
            **{f"solvers.{name}": {"en": f"`{name}`", "zh": f"`{name}`"} for name in SOLVERS},
        },
    ),
    "sampler": (
        {"en": "`dpmpp-2m`, 2,500 images", "zh": "`dpmpp-2m`，2,500 张图像"},
        {"fd": {"en": "FD", "zh": "FD"}, "squeeze": {"en": "SqueezeNet", "zh": "SqueezeNet"}},
        {
            f"sampler.steps{steps}_eta{eta}_overshoot{overshoot}": {
                "en": f"{steps} steps, `eta={eta}`, `overshoot={overshoot}`",
                "zh": f"{steps} 步，`eta={eta}`，`overshoot={overshoot}`",
            }
            for steps, eta, overshoot in SAMPLERS
        },
    ),
    "parse": (
        {"en": "objects right", "zh": "读对的物体"},
        {
            "clean": {"en": "clean", "zh": "原图"},
            "noise": {"en": "noise 8/255", "zh": "噪声 8/255"},
            "jpeg": {"en": "JPEG 75", "zh": "JPEG 75"},
            "blur": {"en": "blur of 1 pixel", "zh": "1 像素模糊"},
            "photos": {"en": "photographs called unreadable", "zh": "照片判为不可读"},
        },
        {
            "scenes.parse.32": {"en": "32 pixels", "zh": "32 像素"},
            "scenes.parse.64": {"en": "64 pixels", "zh": "64 像素"},
        },
    ),
    "order": (
        {"en": "observed order", "zh": "实测阶数"},
        {"order": {"en": "order", "zh": "阶"}},
        {
            "solvers.ddim": {"en": "`ddim`", "zh": "`ddim`"},
            "solvers.heun": {"en": "`heun`", "zh": "`heun`"},
            "solvers.dpmpp-2m": {"en": "`dpmpp-2m`", "zh": "`dpmpp-2m`"},
        },
    ),
    "upscaling": (
        {"en": "four times, luminance", "zh": "放大四倍，亮度"},
        {
            "set5_psnr": {"en": "Set5, dB", "zh": "Set5，dB"},
            "set5_ssim": {"en": "Set5, SSIM", "zh": "Set5，SSIM"},
            "set14_psnr": {"en": "Set14, dB", "zh": "Set14，dB"},
            "set14_ssim": {"en": "Set14, SSIM", "zh": "Set14，SSIM"},
        },
        {
            "upscaling.nearest": {"en": "`nearest`", "zh": "`nearest`"},
            "upscaling.bilinear": {"en": "`bilinear`", "zh": "`bilinear`"},
            "upscaling.bicubic": {"en": "`bicubic`", "zh": "`bicubic`"},
            "upscaling.lanczos": {"en": "`lanczos`", "zh": "`lanczos`"},
            "upscaling.spline": {"en": "`spline`", "zh": "`spline`"},
            "upscaling.adamw": {"en": "`upscaler`, AdamW, 6 minutes of one core", "zh": "`upscaler`，AdamW，单核 6 分钟"},
            "upscaling.muon": {"en": "`upscaler`, Muon, 6 minutes of one core", "zh": "`upscaler`，Muon，单核 6 分钟"},
            "upscaling.bundled": {"en": "the model that ships", "zh": "随包附带的模型"},
            "upscaling.srgan": {"en": "`srgan` from it, 25 minutes of one core", "zh": "以它为起点的 `srgan`，单核 25 分钟"},
        },
    ),
    "translation": (
        {"en": "scenes, 30 minutes", "zh": "scenes，30 分钟"},
        {
            "error": {"en": "error", "zh": "误差"},
            "unchanged": {"en": "error of no change", "zh": "不做改变的误差"},
            "objects": {"en": "objects kept", "zh": "保留的物体"},
        },
        {
            "translation.night": {"en": "day to night", "zh": "白天到夜晚"},
            "translation.day": {"en": "night to day", "zh": "夜晚到白天"},
            "translation.textured": {"en": "smooth to textured", "zh": "光滑到有纹理"},
            "translation.smooth": {"en": "textured to smooth", "zh": "有纹理到光滑"},
        },
    ),
    "style": (
        {"en": "512 pixels, mean of 8 pairs", "zh": "512 像素，8 对的平均"},
        {
            "content": {"en": "content loss", "zh": "内容损失"},
            "style": {"en": "style loss", "zh": "风格损失"},
            "seconds": {"en": "seconds", "zh": "秒"},
        },
        {
            "style.own": {"en": "`inkwash style`", "zh": "`inkwash style`"},
            "style.gentle": {"en": "the same, `--strength` 1, 0.2 or 0.1", "zh": "同上，`--strength` 取 1、0.2 或 0.1"},
            "style.taught": {"en": "the taught version, stopped at equal time", "zh": "常见的教学版本，相同时间后停下"},
            "style.pass": {"en": "a network for one painting", "zh": "为一幅画训练的网络"},
        },
    ),
    "vqvae": (
        {"en": "Fashion-MNIST, 49 codes an image, 8 minutes", "zh": "Fashion-MNIST，每张图 49 个码，8 分钟"},
        {
            "psnr": {"en": "PSNR, dB", "zh": "PSNR，dB"},
            "used": {"en": "codes in use on test images", "zh": "测试图上用到的码"},
            "back": {"en": "FD of what comes back", "zh": "还原图的 FD"},
            "fd": {"en": "FD of samples, prior of 12 minutes", "zh": "采样的 FD，先验训练 12 分钟"},
        },
        {
            "vqvae.pixels": {"en": "`diffusion` on pixels, 20 minutes", "zh": "像素上的 `diffusion`，20 分钟"},
            "vqvae.codebook": {"en": "512 codes", "zh": "512 个码"},
            "vqvae.plain": {"en": "512 codes, without a critic", "zh": "512 个码，不用判别器"},
            "vqvae.fsq": {"en": "FSQ, 1000 codes", "zh": "FSQ，1000 个码"},
            "vqvae.dead": {"en": "512 codes, `objective.revive=0`", "zh": "512 个码，`objective.revive=0`"},
        },
    ),
    "latent": (
        {"en": "Fashion-MNIST, 20 minutes in all", "zh": "Fashion-MNIST，共 20 分钟"},
        {
            "psnr": {"en": "PSNR of what comes back, dB", "zh": "还原图的 PSNR，dB"},
            "fd": {"en": "FD of samples", "zh": "采样的 FD"},
            "seconds_per_image": {"en": "sampling, s/image", "zh": "采样，秒/张"},
        },
        {
            "latent.pixels": {"en": "`diffusion`", "zh": "`diffusion`"},
            "latent.kl": {"en": "`autoencoder`, `latent-diffusion`", "zh": "`autoencoder`、`latent-diffusion`"},
        },
    ),
    "sequence": (
        {"en": "10 frames from 10, 1000 clips", "zh": "由 10 帧预测 10 帧，1000 个片段"},
        {"mse": {"en": "squared error a frame", "zh": "每帧平方误差"}, "ssim": {"en": "SSIM", "zh": "SSIM"}},
        {
            "sequence.copy": {"en": "moving digits, the last frame repeated", "zh": "移动数字，重复最后一帧"},
            "sequence.conv": {"en": "`sequence`, 20 minutes", "zh": "`sequence`，20 分钟"},
            "sequence.short": {"en": "`sequence`, 12 minutes", "zh": "`sequence`，12 分钟"},
            "sequence.lstm": {"en": "`sequence-lstm`, 12 minutes", "zh": "`sequence-lstm`，12 分钟"},
            "sequence.true": {"en": "only true frames in training, 12 minutes", "zh": "训练时只看真实的帧，12 分钟"},
            "sequence.scenes_copy": {"en": "moving scenes, the last frame repeated", "zh": "移动场景，重复最后一帧"},
            "sequence.scenes": {"en": "`sequence`", "zh": "`sequence`"},
        },
    ),
    "gmm": (
        {"en": "Fashion-MNIST", "zh": "Fashion-MNIST"},
        {
            "bits": {"en": "bits/dim (a density)", "zh": "比特/维（密度）"},
            "seconds": {"en": "fitting, s", "zh": "拟合，秒"},
            "fd": {"en": "FD", "zh": "FD"},
        },
        {
            "gmm.pca": {"en": "`gmm`", "zh": "`gmm`"},
            "gmm.factors": {"en": "`model.covariance=factors`", "zh": "`model.covariance=factors`"},
        },
    ),
    "hmm": (
        {"en": "Fixed binarisation of MNIST", "zh": "MNIST 的固定二值化"},
        {"nats": {"en": "nats of test images", "zh": "测试图的 nats"}, "seconds": {"en": "fitting, s", "zh": "拟合，秒"}},
        {
            "hmm.rows": {"en": "64 states, rows", "zh": "64 个状态，按行"},
            "hmm.patches": {"en": "64 states, 4x4 patches", "zh": "64 个状态，4x4 的块"},
        },
    ),
    "rbm": (
        {"en": "Fixed binarisation of MNIST", "zh": "MNIST 的固定二值化"},
        {"nats": {"en": "nats of test images (an estimate)", "zh": "测试图的 nats（估计）"}, "log_z": {"en": "log Z", "zh": "log Z"}},
        {"rbm.ten": {"en": "500 hidden units, 10 minutes", "zh": "500 个隐藏单元，10 分钟"}},
    ),
    "walking": (
        {"en": "64 images of 28x28, two levels", "zh": "64 张 28x28 的两级图像"},
        {
            "fast": {"en": "fast, fp32, s", "zh": "快速，fp32，秒"},
            "naive": {"en": "naive, s", "zh": "朴素，秒"},
            "ratio": {"en": "ratio", "zh": "倍数"},
            "ratio64": {"en": "ratio, fp64", "zh": "倍数，fp64"},
            "same": {"en": "the same pictures, fp64", "zh": "相同的图，fp64"},
            "same32": {"en": "fp32", "zh": "fp32"},
        },
        {
            "walking.pixelcnn": {"en": "`pixelcnn`, 6 blocks", "zh": "`pixelcnn`，6 个块"},
            "walking.transformer": {"en": "transformer over 784 tokens, 2 blocks", "zh": "784 个词元上的 Transformer，2 个块"},
        },
    ),
    "mnist": (
        {"en": "Nats of 10,000 test images of MNIST, one core", "zh": "MNIST 10,000 张测试图的 nats，单核训练"},
        {
            "nats": {"en": "nats", "zh": "nats"},
            "parameters": {"en": "parameters, M", "zh": "参数，百万"},
            "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"},
        },
        {
            "mnist.auto": {"en": "`autoregressive`, 30 minutes", "zh": "`autoregressive`，30 分钟"},
            **{f"mnist.{key}": {"en": f"`{name}`, 30 minutes", "zh": f"`{name}`，30 分钟"} for key, name in CAUSAL.items()},
            "mnist.vae": {"en": "`vae`, 30 minutes (a bound)", "zh": "`vae`，30 分钟（界）"},
            "mnist.iwae": {"en": "the same, 50 draws (a bound)", "zh": "同上，50 次抽样（界）"},
            "mnist.long": {"en": "`autoregressive`, 125 minutes", "zh": "`autoregressive`，125 分钟"},
            "mnist.stochastic": {
                "en": "stochastic binarisation: `autoregressive`, 30 minutes",
                "zh": "随机二值化：`autoregressive`，30 分钟",
            },
        },
    ),
    "latents": (
        {"en": "`scenes` of one object, 500 pictures", "zh": "单个物体的 `scenes`，500 张图"},
        {
            "colour": {"en": "became red", "zh": "变成红色"},
            "shape": {"en": "kept its shape", "zh": "形状不变"},
            "mig": {"en": "mutual information gap", "zh": "互信息差"},
        },
        {
            "latents.vae": {"en": "`vae`, the difference added once", "zh": "`vae`，差值加一次"},
            "latents.more": {"en": "a quarter more of it", "zh": "多加四分之一"},
            "latents.beta": {"en": "`objective.beta=4`, once", "zh": "`objective.beta=4`，加一次"},
        },
    ),
    "bits": (
        {"en": "Fashion-MNIST of 256 levels, 5 minutes of one core", "zh": "256 级的 Fashion-MNIST，单核 5 分钟"},
        {"bits": {"en": "bits/dim", "zh": "比特/维"}, "images_per_second": {"en": "training, images/s", "zh": "训练，张/秒"}},
        {
            "bits.auto": {"en": "`autoregressive` (exact)", "zh": "`autoregressive`（精确）"},
            **{f"bits.{key}": {"en": f"`{name}` (exact)", "zh": f"`{name}`（精确）"} for key, name in CAUSAL.items()},
            "bits.softmax": {"en": "`pixelcnn`, `model.head=categorical`", "zh": "`pixelcnn`，`model.head=categorical`"},
            "bits.diffusion": {"en": "`diffusion` (a bound)", "zh": "`diffusion`（界）"},
            "bits.vae": {"en": "`vae` (a bound)", "zh": "`vae`（界）"},
            "bits.iwae": {"en": "the same, 50 draws (a bound)", "zh": "同上，50 次抽样（界）"},
            "bits.hmm": {"en": "`hmm`, fitted at once (exact)", "zh": "`hmm`，一次拟合（精确）"},
            "bits.gmm": {"en": "`gmm`, fitted at once (a density)", "zh": "`gmm`，一次拟合（密度）"},
        },
    ),
    "stacked": (
        {"en": "StackedMNIST, 26,000 samples", "zh": "StackedMNIST，26,000 个样本"},
        {"modes": {"en": "modes of 1000", "zh": "1000 个模式中"}, "kl": {"en": "reverse KL", "zh": "反向 KL"}},
        {
            "stacked.floor": {"en": "sampling alone", "zh": "仅抽样误差"},
            "stacked.default": {"en": "`gan`, 30 minutes of one core", "zh": "`gan`，单核 30 分钟"},
            "stacked.none": {"en": "`objective.r1=0`", "zh": "`objective.r1=0`"},
            **{
                f"stacked.{name}": {"en": f"`objective.loss={name}`", "zh": f"`objective.loss={name}`"}
                for name in ("minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic")
            },
            **{f"stacked.{name}": {"en": f"`{name}`", "zh": f"`{name}`"} for name in ("dcgan", "wgan", "wgan-gp", "sagan")},
            "stacked.mlp": {"en": "`minimax`", "zh": "`minimax`"},
        },
    ),
    "mixture": (
        {"en": "25 Gaussians", "zh": "25 个高斯分布"},
        {"modes": {"en": "modes, fewest", "zh": "模式数，最少"}, "good": {"en": "good points, fewest", "zh": "合格点，最少"}},
        {
            "mixture.default": {"en": "`non-saturating` with R1, the default, 5 seeds", "zh": "`non-saturating` 加 R1，即默认，5 个种子"},
            "mixture.minimax": {"en": "`minimax`, as in 2014, 1 seed", "zh": "`minimax`，2014 年原样，1 个种子"},
        },
    ),
    "few_images": (
        {"en": "1,000 images of Fashion-MNIST, 10 minutes of one core", "zh": "1,000 张 Fashion-MNIST，单核 10 分钟"},
        {
            "fd": {"en": "FD", "zh": "FD"},
            "precision": {"en": "precision", "zh": "精确率"},
            "recall": {"en": "recall", "zh": "召回率"},
            "overfit": {"en": "overfit", "zh": "过拟合"},
        },
        {
            "few_images.plain": {"en": "`gan`", "zh": "`gan`"},
            "few_images.augmented": {"en": "with `objective.augment`", "zh": "加上 `objective.augment`"},
            "few_images.adaptive": {"en": "with `objective.adapt=0.6` too", "zh": "再加上 `objective.adapt=0.6`"},
        },
    ),
    "ablation": (
        {"en": "Fashion-MNIST, 5 minutes of one core", "zh": "Fashion-MNIST，单核 5 分钟"},
        {"fd": {"en": "FD", "zh": "FD"}, "precision": {"en": "precision", "zh": "精确率"}, "recall": {"en": "recall", "zh": "召回率"}},
        {
            "ablation.gan": {"en": "`gan`: projection, no attention", "zh": "`gan`：投影，没有注意力"},
            "ablation.attention": {"en": "with attention on maps of side 7", "zh": "边长 7 的特征图加注意力"},
            "ablation.concat": {"en": "class by planes, not projection", "zh": "类别以平面输入，而非投影"},
            "ablation.auxiliary": {"en": "class named by the critic", "zh": "由判别器说出类别"},
            "ablation.none": {"en": "without classes", "zh": "不用类别"},
            "ablation.sagan": {"en": "`sagan`, 6 minutes", "zh": "`sagan`，6 分钟"},
            "ablation.no_attention": {"en": "`sagan` without attention, 6 minutes", "zh": "`sagan` 不用注意力，6 分钟"},
        },
    ),
}  # fmt: skip
