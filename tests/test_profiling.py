"""Which kind of work an operation, or a kernel of a GPU, is counted as."""

from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from rflav_lib.profiling import GPU_KINDS, KINDS, REST, by_kind

PRODUCTS, ATTENTION, COPIES, BETWEEN = KINDS


def event(name, device=0.0, host=0.0, of=DeviceType.CUDA, annotation=False):
    return SimpleNamespace(
        key=name, self_device_time_total=1e6 * device, self_cpu_time_total=1e6 * host, device_type=of,
        is_user_annotation=annotation,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", PRODUCTS),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_cublas", PRODUCTS),
        ("void cutlass::Kernel2<cutlass_80_simt_sgemm_256x128_8x4_tn_align1>(Params)", PRODUCTS),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float>()", PRODUCTS),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4> >()", ATTENTION),
        ("fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)", ATTENTION),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_3", ATTENTION),
        ("triton_per_fused__softmax_mul_sum_3", ATTENTION),
        ("triton_red_fused__to_copy_addcmul_native_layer_norm_0", BETWEEN),
        ("triton_poi_fused_cat_clone_2", BETWEEN),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl()>()", BETWEEN),
        ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>()", BETWEEN),
        ("void at::native::elementwise_kernel<128, 4, at::native::direct_copy_kernel_cuda()>()", COPIES),
        ("void at::native::(anonymous namespace)::CatArrayBatchedCopy<float>()", COPIES),
        ("Memcpy HtoD (Pinned -> Device)", COPIES),
    ],
)
def test_kernels_of_a_gpu(name, kind):
    assert by_kind([event(name, device=0.25)], 1.0, on_gpu=True) == {k: 0.25 * (k == kind) for k in KINDS} | {
        REST: 0.75
    }


def test_a_kernel_s_time_is_counted_once_and_the_host_s_not_at_all():
    events = [
        # tells the time of the kernel below again
        event("aten::mm", device=0.5, host=0.9, of=DeviceType.CPU),
        event("nvjet_tst_64x8", device=0.5),
        event("my gemm part", device=0.5, annotation=True),
        event("void unknown_kernel()", device=0.125),
    ]
    found = by_kind(events, 1.0, on_gpu=True)
    assert (found[PRODUCTS], found[REST]) == (0.5, 0.5)


def test_on_the_host_operations_are_counted():
    events = [
        event("aten::mm", host=0.5, of=DeviceType.CPU),
        event("aten::copy_", host=0.25, of=DeviceType.CPU),
    ]
    found = by_kind(events, 1.0, on_gpu=False)
    assert (found[PRODUCTS], found[COPIES], found[REST]) == (0.5, 0.25, 0.25)


def test_both_sort_into_the_same_kinds():
    assert set(GPU_KINDS) == set(KINDS)


def test_a_cpu_s_time_is_asked_for_without_a_gpu():
    from rflav_lib.profiling import shares

    products = torch.randn(64, 64)
    found = shares(lambda: products @ products, torch.device("cpu"))
    assert found[PRODUCTS] > 0 and sum(found.values()) == pytest.approx(1, abs=0.02)
