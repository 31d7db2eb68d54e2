// Loops over planes (all pixels of one channel of a batch) and the two layouts they come in.
//
// Compact: the batch's pixels one after the other, N * H * W floats. Padded: every row is followed by `radius` zeros and
// every image by `radius` rows of zeros, with zeros before and after all of them, so that a filter tap is one offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace archon {

struct Geometry {
    int images, height, width, radius, stride;

    int out_height() const { return (height + stride - 1) / stride; }
    int out_width() const { return (width + stride - 1) / stride; }
    size_t pixels() const { return size_t(images) * height * width; }
    size_t out_pixels() const { return size_t(images) * out_height() * out_width(); }
    size_t pitch() const { return size_t(width) + radius; }
    size_t margin() const { return radius * pitch() + radius; }
    size_t body() const { return size_t(images) * (height + radius) * pitch(); }
    size_t padded() const { return body() + 2 * margin(); }
    size_t at(int image, int row) const { return margin() + (size_t(image) * (height + radius) + row) * pitch(); }
};

// to[i] (+)= sum over sources of weight * from[i].
template <int COUNT, bool ADD>
inline void combine_some(float* __restrict to, const float* const* from, const float* weights, size_t size) {
    const float* source[COUNT];
    float weight[COUNT];
    for (int j = 0; j < COUNT; ++j) source[j] = from[j], weight[j] = weights[j];
    for (size_t i = 0; i < size; ++i) {
        float sum = ADD ? to[i] : 0.0f;
        for (int j = 0; j < COUNT; ++j) sum += weight[j] * source[j][i];
        to[i] = sum;
    }
}

// Chunks small enough for the first cache.
constexpr size_t CHUNK = 1024;

struct Terms {
    std::vector<const float*> from;
    std::vector<float> weights;

    void clear() { from.clear(), weights.clear(); }
    void add(const float* source, float weight) {
        if (weight != 0.0f) from.push_back(source), weights.push_back(weight);
    }
};

template <int COUNT>
inline size_t combine_run(float* to, const float* const* from, const float* weights, size_t size, bool add) {
    if (add) combine_some<COUNT, true>(to, from, weights, size);
    else combine_some<COUNT, false>(to, from, weights, size);
    return COUNT;
}

inline void combine(float* to, const Terms& terms, size_t size, bool add) {
    const size_t count = terms.from.size();
    if (count == 0) {
        if (!add) std::memset(to, 0, size * sizeof(float));
        return;
    }
    std::vector<const float*> from(count);
    for (size_t start = 0; start < size; start += CHUNK) {
        const size_t length = size - start < CHUNK ? size - start : CHUNK;
        for (size_t j = 0; j < count; ++j) from[j] = terms.from[j] + start;
        size_t done = 0;
        while (done < count) {
            const float* const* f = &from[done];
            const float* w = &terms.weights[done];
            const bool more = add || done > 0;
            const size_t left = count - done;
            if (left >= 9 && left % 8 != 0) done += combine_run<9>(to + start, f, w, length, more);
            else if (left >= 8) done += combine_run<8>(to + start, f, w, length, more);
            else if (left >= 4) done += combine_run<4>(to + start, f, w, length, more);
            else if (left == 3) done += combine_run<3>(to + start, f, w, length, more);
            else if (left == 2) done += combine_run<2>(to + start, f, w, length, more);
            else done += combine_run<1>(to + start, f, w, length, more);
        }
    }
}

inline float dot(const float* __restrict a, const float* __restrict b, size_t size) {
    double total = 0;
    for (size_t start = 0; start < size; start += CHUNK) {
        const size_t end = size - start < CHUNK ? size : start + CHUNK;
        float sum = 0;
        for (size_t i = start; i < end; ++i) sum += a[i] * b[i];
        total += sum;
    }
    return float(total);
}

// sums[j] += dot(a, b[j]) for four planes at a time.
inline void dot4(const float* __restrict a, const float* const* b, double* sums, size_t size) {
    const float *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    for (size_t start = 0; start < size; start += CHUNK) {
        const size_t end = size - start < CHUNK ? size : start + CHUNK;
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (size_t i = start; i < end; ++i) {
            s0 += a[i] * b0[i], s1 += a[i] * b1[i], s2 += a[i] * b2[i], s3 += a[i] * b3[i];
        }
        sums[0] += s0, sums[1] += s1, sums[2] += s2, sums[3] += s3;
    }
}

inline std::vector<double> dots(const float* a, const std::vector<const float*>& planes, size_t size) {
    std::vector<double> sums(planes.size());
    size_t j = 0;
    for (; j + 4 <= planes.size(); j += 4) dot4(a, &planes[j], &sums[j], size);
    for (; j < planes.size(); ++j) sums[j] = dot(a, planes[j], size);
    return sums;
}

inline double positive(const float* from, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; ++i) count += from[i] > 0;
    return double(count);
}

inline void scatter(float* __restrict padded, const float* __restrict compact, const Geometry& g) {
    for (int n = 0; n < g.images; ++n)
        for (int y = 0; y < g.height; ++y, compact += g.width) std::memcpy(padded + g.at(n, y), compact, g.width * sizeof(float));
}

inline void gather(float* __restrict compact, const float* __restrict padded, const Geometry& g) {
    for (int n = 0; n < g.images; ++n)
        for (int y = 0; y < g.height; ++y, compact += g.width) std::memcpy(compact, padded + g.at(n, y), g.width * sizeof(float));
}

// The same for the pixels that a filter with this stride is placed at; compact has out_pixels() floats.
inline void scatter_strided(float* __restrict padded, const float* __restrict compact, const Geometry& g) {
    if (g.stride == 1) return scatter(padded, compact, g);
    for (int n = 0; n < g.images; ++n)
        for (int y = 0; y < g.height; y += g.stride)
            for (int x = 0; x < g.width; x += g.stride) padded[g.at(n, y) + x] = *compact++;
}

inline void gather_strided(float* __restrict compact, const float* __restrict padded, const Geometry& g) {
    if (g.stride == 1) return gather(compact, padded, g);
    for (int n = 0; n < g.images; ++n)
        for (int y = 0; y < g.height; y += g.stride)
            for (int x = 0; x < g.width; x += g.stride) *compact++ = padded[g.at(n, y) + x];
}

// [pixels, channels] to planes [channels, pixels] and back.
inline void to_planes(float* __restrict planes, const float* __restrict pixels, size_t count, int channels) {
    for (size_t start = 0; start < count; start += 16)
        for (int c = 0; c < channels; ++c)
            for (size_t p = start; p < start + 16 && p < count; ++p) planes[c * count + p] = pixels[p * channels + c];
}

inline void from_planes(float* __restrict pixels, const float* __restrict planes, size_t count, int channels) {
    for (size_t start = 0; start < count; start += 16)
        for (int c = 0; c < channels; ++c)
            for (size_t p = start; p < start + 16 && p < count; ++p) pixels[p * channels + c] = planes[c * count + p];
}

}  // namespace archon
