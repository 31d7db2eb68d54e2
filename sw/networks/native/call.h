// What a call of the kernel is given (sw/networks/native/library.py fills the same structures), and BatchNorm.
#pragma once

#include <cmath>

#include "planes.h"

namespace archon {

extern "C" {

// BatchNorm, or with batch == 0 a given scale (gamma) and offset (beta). All arrays are [E].
struct Norm {
    int64_t batch;
    const float *gamma, *beta;
    float *mean, *variance;      // of the batch: written forward, read backward
    float *d_gamma, *d_beta;
};

// Expand and depthwise layer with their norms; gradients are found where the mask is not zero.
struct Path {
    const float *expand, *expand_mask;        // [E, C / G]
    const float *depthwise, *depthwise_mask;  // [E, kernel, kernel]
    float *d_expand, *d_depthwise;
    Norm first, second;
};

struct BlockCall {
    int64_t images, height, width, in_channels, expanded, out_channels, kernel, stride, groups, threads, gated;
    float epsilon, gate_slope, level_max;
    float d_shares[2];
    const float* inputs;                  // [N, H, W, C]
    const float* predictor_inputs;        // [N, H, W, C], gated only
    const float* level;                   // [E], gated only: one level of r1, before the norm's scale
    const float* costs;                   // [E]: by which survivors count, 1 in the mean
    const float *project, *project_mask;  // [K, E / G]
    Path value, predictor;
    float* outputs;                       // [N, H', W', K]
    float* shares;                        // [2]: survivors of the first and second gate or ReLU, by their costs
    const float* d_outputs;
    float *d_inputs, *d_predictor_inputs, *d_project;
};

}  // extern "C"

struct Affine {
    float scale, offset;
};

inline Affine affine_of(const Norm& norm, int64_t e, float epsilon) {
    if (!norm.batch) return {norm.gamma[e], norm.beta[e]};
    const float scale = norm.gamma[e] / std::sqrt(norm.variance[e] + epsilon);
    return {scale, norm.beta[e] - norm.mean[e] * scale};
}

inline void observe(const Norm& norm, int64_t e, const float* z, size_t size) {
    if (!norm.batch) return;
    double sum = 0, squares = 0;
    for (size_t start = 0; start < size; start += CHUNK) {
        const size_t end = size - start < CHUNK ? size : start + CHUNK;
        float s = 0, q = 0;
        for (size_t i = start; i < end; ++i) s += z[i], q += z[i] * z[i];
        sum += s, squares += q;
    }
    const double mean = sum / size, variance = squares / size - mean * mean;
    norm.mean[e] = float(mean);
    norm.variance[e] = float(variance > 0 ? variance : 0);
}

// Gradient of the norm's output, in place to that of its input z.
inline void norm_backward(const Norm& norm, int64_t e, float epsilon, float* __restrict gradient, const float* __restrict z, size_t size) {
    double sum = 0, product = 0;
    for (size_t start = 0; start < size; start += CHUNK) {
        const size_t end = size - start < CHUNK ? size : start + CHUNK;
        float s = 0, p = 0;
        for (size_t i = start; i < end; ++i) s += gradient[i], p += gradient[i] * z[i];
        sum += s, product += p;
    }
    const float scale = affine_of(norm, e, epsilon).scale;
    norm.d_beta[e] = float(sum);
    if (!norm.batch) {
        norm.d_gamma[e] = float(product);
        for (size_t i = 0; i < size; ++i) gradient[i] *= scale;
        return;
    }
    const double inverse = 1 / std::sqrt(double(norm.variance[e]) + epsilon), mean = norm.mean[e];
    const double d_gamma = (product - mean * sum) * inverse;
    norm.d_gamma[e] = float(d_gamma);
    const float slope = float(scale * d_gamma * inverse / size);
    const float constant = float(scale * sum / size - slope * mean);
    for (size_t i = 0; i < size; ++i) gradient[i] = scale * gradient[i] - slope * z[i] - constant;
}

inline float sigmoid_slope(float x) {
    const float bounded = std::fmin(std::fmax(x, -30.0f), 30.0f);  // so that exp stays finite
    const float s = 1.0f / (1.0f + std::exp(-bounded));
    return s * (1.0f - s);
}

}  // namespace archon
