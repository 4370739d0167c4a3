"""Classes of kernels by names as CUDA's libraries and PyTorch give them."""

from __future__ import annotations

import pytest

from vdnnsim.profiler.kinds import KINDS, kind_of_kernel, kind_of_operator

KERNELS = {
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize2x1x1_execute_kernel__5x_cublas": "gemm",
    "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NTT": "gemm",
    "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_256x128_32x3_nn_align8>(Params)": "gemm",
    "void splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float>": "gemm",
    "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false>": "gemm",
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x64_4x1x1_cga1x1x1": "attention",
    "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64>>": "attention",
    "fmha_cutlassF_bf16_aligned_64x128_rf_sm80": "attention",
    "sm90_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x32": "convolution",
    "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688wgrad_optimized_tf32_256x128_16x3>": "convolution",
    "void implicit_convolve_sgemm<float, float, 1024, 5, 5, 3, 3, 3, 1>": "convolution",
    "void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true>": "convolution",
    "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, int, 512, true, 1, true>": "normalisation",
    "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>": "normalisation",
    "void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float, float>": "normalisation",
    "void at::native::batch_norm_backward_reduce_channels_last_kernel<4, float>": "normalisation",
    "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>": "elementwise",
    "void at::native::(anonymous namespace)::fused_dropout_kernel_vec<float, float, unsigned int>": "elementwise",
    "void at::native::vectorized_gather_kernel<16, long>(char*, char*, long*)": "elementwise",
    "triton_poi_fused_convert_element_type_gelu_3": "elementwise",
    "triton_per_fused_native_layer_norm_1": "normalisation",
    "triton_red_fused_sum_7": "reduction",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, func_wrapper_t<float>>>": "reduction",
    "void (anonymous namespace)::softmax_warp_backward<float, float, float, 10, true>": "reduction",
    "void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>": "reduction",
    "void at::native::(anonymous namespace)::max_pool_forward_nchw<float>(int, float const*)": "reduction",
    "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda>": "copy",
    "void at::native::(anonymous namespace)::CatArrayBatchedCopy<OpaqueType<4u>, unsigned int, 4>": "copy",
    "Memcpy HtoD (Pinned -> Device)": "copy",
    "Memset (Device)": "copy",
    "void multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata<4>, FusedAdamMathFunctor>": "optimiser",
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels(kernel: str) -> None:
    assert kind_of_kernel(kernel, "aten::anything", in_optimiser=False) == KERNELS[kernel]


def test_an_optimisers_kernels_are_its_own_but_not_its_copies() -> None:
    foreach = "void at::native::multi_tensor_apply_kernel<TensorListMetadata<2>, BinaryOpScalarFunctor<float>>"
    assert kind_of_kernel(foreach, "aten::_foreach_mul_", in_optimiser=True) == "optimiser"
    assert kind_of_kernel(foreach, "aten::_foreach_mul_", in_optimiser=False) == "elementwise"
    assert kind_of_kernel("Memcpy DtoD (Device -> Device)", "aten::copy_", in_optimiser=True) == "copy"


def test_a_name_that_says_nothing_goes_by_its_operator() -> None:
    assert kind_of_kernel("a_kernel_of_mine", "aten::convolution", in_optimiser=False) == "convolution"
    assert kind_of_kernel("a_kernel_of_mine", "MyFunction", in_optimiser=False) == "other"


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::addmm", "gemm"),
        ("aten::bmm", "gemm"),
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::native_layer_norm", "normalisation"),
        ("aten::native_batch_norm_backward", "normalisation"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::gelu", "elementwise"),
        ("aten::threshold_backward", "elementwise"),
        ("aten::_log_softmax", "reduction"),
        ("aten::sum", "reduction"),
        ("aten::cat", "copy"),
        ("aten::copy_", "copy"),
        ("mine::operator", "other"),
    ],
)
def test_operators(operator: str, kind: str) -> None:
    assert kind_of_operator(operator, in_optimiser=False) == kind


def test_every_class_is_known() -> None:
    assert set(KERNELS.values()) | {"other"} == set(KINDS)
