// A fusible block on a CPU, forward and backward, without ever holding its expanded tensors: one expanded channel after
// the other goes through expand, norm, ReLU or gate, depthwise, norm, ReLU or gate, and is added to the block's outputs.
// The backward pass computes each channel anew. What it computes is defined by sw/networks/fused.py; tests compare the two.

#include <thread>

#include "call.h"
#include "planes.h"

namespace archon {

constexpr int TILE = 4;  // expanded channels added to the outputs at a time

namespace {

using Planes = std::vector<float>;

// Everything that one thread needs to take an expanded channel through the block.
class Worker {
  public:
    Worker(const BlockCall& call, const Geometry& geometry, const Planes& inputs, const Planes& predictor_inputs)
        : call_(call), g_(geometry), inputs_(inputs), predictor_inputs_(predictor_inputs),
          pixels_(geometry.pixels()), out_pixels_(geometry.out_pixels()), taps_(int(call.kernel * call.kernel)),
          z1_(pixels_), a1_(pixels_), a1_padded_(geometry.padded()), z2_(out_pixels_), excess_(pixels_), zp_(pixels_),
          levels_padded_(geometry.padded()), s2_(out_pixels_), zp2_(out_pixels_), filtered_(geometry.padded()),
          d_z2_(out_pixels_), d_s2_(out_pixels_), d_excess_(pixels_) {
        for (int t = 0; t < TILE; ++t) {
            a2_[t].resize(out_pixels_);
            d_z1_[t].resize(pixels_);
            d_zp_[t].resize(pixels_);
        }
    }

    // Expanded channels first..last of one group into output planes [K / G of the group].
    void forward(int64_t group, int64_t first, int64_t last, float* outputs) {
        const int64_t rows = call_.out_channels / call_.groups, columns = call_.expanded / call_.groups;
        for (int64_t e = first; e < last; e += TILE) {
            const int64_t count = last - e < TILE ? last - e : TILE;
            for (int64_t t = 0; t < count; ++t) run(group, e + t, a2_[t].data(), true);
            for (int64_t k = 0; k < rows; ++k) {
                terms_.clear();
                const float* row = call_.project + (group * rows + k) * columns - group * columns;
                for (int64_t t = 0; t < count; ++t) terms_.add(a2_[t].data(), row[e + t]);
                combine(outputs + k * out_pixels_, terms_, out_pixels_, true);
            }
        }
    }

    // Gradients of expanded channels first..last, and their part of the gradients of the inputs.
    void backward(int64_t group, int64_t first, int64_t last, const float* d_outputs, float* d_inputs, float* d_predictor) {
        for (int64_t e = first; e < last; e += TILE) {
            const int64_t count = last - e < TILE ? last - e : TILE;
            for (int64_t t = 0; t < count; ++t) {
                run(group, e + t, a2_[0].data(), false);
                project_backward(group, e + t, d_outputs);
                if (call_.gated) gated_backward(e + t, d_z1_[t].data(), d_zp_[t].data());
                else plain_backward(e + t, d_z1_[t].data());
                expand_gradient(call_.value, inputs_, group, e + t, d_z1_[t].data());
                if (call_.gated) expand_gradient(call_.predictor, predictor_inputs_, group, e + t, d_zp_[t].data());
            }
            inputs_gradient(call_.value, e, count, d_z1_, d_inputs);
            if (call_.gated) inputs_gradient(call_.predictor, e, count, d_zp_, d_predictor);
        }
    }

    double survivors[2] = {0, 0};

  private:
    int64_t width() const { return call_.in_channels / call_.groups; }

    void expand(const Path& path, const Planes& inputs, int64_t group, int64_t e, float* z) {
        terms_.clear();
        for (int64_t c = 0; c < width(); ++c)
            terms_.add(&inputs[(group * width() + c) * pixels_], path.expand[e * width() + c]);
        combine(z, terms_, pixels_, false);
    }

    ptrdiff_t tap(int index) const {
        const int radius = g_.radius, kernel = int(call_.kernel);
        return ptrdiff_t(index / kernel - radius) * ptrdiff_t(g_.pitch()) + (index % kernel - radius);
    }

    void filter(const Path& path, const Planes& padded, int64_t e, float* z) {
        terms_.clear();
        for (int d = 0; d < taps_; ++d) terms_.add(padded.data() + g_.margin() + tap(d), path.depthwise[e * taps_ + d]);
        combine(filtered_.data() + g_.margin(), terms_, g_.body(), false);
        gather_strided(z, filtered_.data(), g_);
    }

    // One channel up to the input of the project layer.
    void run(int64_t group, int64_t e, float* a2, bool observing) {
        expand(call_.value, inputs_, group, e, z1_.data());
        if (observing) observe(call_.value.first, e, z1_.data(), pixels_);
        const auto [scale, offset] = affine_of(call_.value.first, e, call_.epsilon);
        if (call_.gated) {
            predict(group, e, observing);
            for (size_t i = 0; i < pixels_; ++i) {
                const float x = z1_[i] * scale + offset;  // unconditional: a loop with a branch would be scalar
                a1_[i] = excess_[i] > 0 ? x : 0.0f;
            }
        } else {
            for (size_t i = 0; i < pixels_; ++i) a1_[i] = std::fmax(z1_[i] * scale + offset, 0.0f);
            if (observing) survivors[0] += call_.costs[e] * positive(a1_.data(), pixels_);
        }
        scatter(a1_padded_.data(), a1_.data(), g_);
        filter(call_.value, a1_padded_, e, z2_.data());
        if (observing) observe(call_.value.second, e, z2_.data(), out_pixels_);
        const auto [scale2, offset2] = affine_of(call_.value.second, e, call_.epsilon);
        if (call_.gated) {
            for (size_t i = 0; i < out_pixels_; ++i) a2[i] = s2_[i] > 0 ? z2_[i] * scale2 + offset2 : 0.0f;
        } else {
            for (size_t i = 0; i < out_pixels_; ++i) a2[i] = std::fmax(z2_[i] * scale2 + offset2, 0.0f);
            if (observing) survivors[1] += call_.costs[e] * positive(a2, out_pixels_);
        }
    }

    float level_of(int64_t e) const {
        const float scale = std::fabs(affine_of(call_.predictor.first, e, call_.epsilon).scale);
        return std::fmax(scale, 1e-12f) * call_.level[e];
    }

    void predict(int64_t group, int64_t e, bool observing) {
        const Path& path = call_.predictor;
        expand(path, predictor_inputs_, group, e, zp_.data());
        if (observing) observe(path.first, e, zp_.data(), pixels_);
        auto [scale, offset] = affine_of(path.first, e, call_.epsilon);
        const float level = level_of(e);
        scale /= level, offset /= level;
        size_t survivors1 = 0, survivors2 = 0;
        for (size_t i = 0; i < pixels_; ++i) {
            const float x = zp_[i] * scale + offset;
            excess_[i] = x;
            a1_[i] = std::ceil(std::fmin(std::fmax(x, 0.0f), call_.level_max));
            survivors1 += x > 0;
        }
        scatter(levels_padded_.data(), a1_.data(), g_);
        filter(path, levels_padded_, e, zp2_.data());
        if (observing) observe(path.second, e, zp2_.data(), out_pixels_);
        const auto [scale2, offset2] = affine_of(path.second, e, call_.epsilon);
        for (size_t i = 0; i < out_pixels_; ++i) {
            s2_[i] = zp2_[i] * scale2 + offset2;
            survivors2 += s2_[i] > 0;
        }
        if (!observing) return;
        survivors[0] += call_.costs[e] * double(survivors1), survivors[1] += call_.costs[e] * double(survivors2);
    }

    void project_backward(int64_t group, int64_t e, const float* d_outputs) {
        const int64_t rows = call_.out_channels / call_.groups, columns = call_.expanded / call_.groups;
        terms_.clear(), wanted_.clear(), places_.clear();
        for (int64_t k = 0; k < rows; ++k) {
            const int64_t place = (group * rows + k) * columns + (e - group * columns);
            terms_.add(d_outputs + k * out_pixels_, call_.project[place]);
            if (call_.project_mask[place] != 0) wanted_.push_back(d_outputs + k * out_pixels_), places_.push_back(place);
        }
        combine(d_z2_.data(), terms_, out_pixels_, false);
        const auto sums = dots(a2_[0].data(), wanted_, out_pixels_);
        for (size_t j = 0; j < sums.size(); ++j) call_.d_project[places_[j]] = float(sums[j]);
    }

    // Gradient of a depthwise layer's output to those of its weight and input (compact).
    void filter_backward(const Path& path, const Planes& padded, int64_t e, const float* d_out, float* d_in) {
        std::memset(filtered_.data(), 0, filtered_.size() * sizeof(float));
        scatter_strided(filtered_.data(), d_out, g_);
        const float* gradient = filtered_.data() + g_.margin();
        wanted_.clear(), places_.clear();
        for (int d = 0; d < taps_; ++d) {
            if (path.depthwise_mask[e * taps_ + d] == 0) continue;
            wanted_.push_back(padded.data() + g_.margin() + tap(d)), places_.push_back(e * taps_ + d);
        }
        const auto sums = dots(gradient, wanted_, g_.body());
        for (size_t j = 0; j < sums.size(); ++j) path.d_depthwise[places_[j]] = float(sums[j]);
        terms_.clear();
        for (int d = 0; d < taps_; ++d) terms_.add(gradient - tap(d), path.depthwise[e * taps_ + d]);
        d_padded_.resize(g_.padded());
        combine(d_padded_.data() + g_.margin(), terms_, g_.body(), false);
        gather(d_in, d_padded_.data(), g_);
    }

    // Adds the gradient of a share of survivors, of which each of `size` pre-activations z * scale + offset is a part.
    void share_backward(float d_share, float slope, Affine affine, float* d_out, const float* z, size_t size) {
        if (d_share == 0) return;
        const float factor = d_share * slope / (float(size) * call_.expanded);
        for (size_t i = 0; i < size; ++i) d_out[i] += factor * sigmoid_slope(slope * (z[i] * affine.scale + affine.offset));
    }

    void plain_backward(int64_t e, float* d_z1) {
        const Path& path = call_.value;
        for (size_t i = 0; i < out_pixels_; ++i) d_z2_[i] = a2_[0][i] > 0 ? d_z2_[i] : 0.0f;
        const Affine first = affine_of(path.first, e, call_.epsilon), second = affine_of(path.second, e, call_.epsilon);
        share_backward(call_.costs[e] * call_.d_shares[1], call_.gate_slope, second, d_z2_.data(), z2_.data(), out_pixels_);
        norm_backward(path.second, e, call_.epsilon, d_z2_.data(), z2_.data(), out_pixels_);
        filter_backward(path, a1_padded_, e, d_z2_.data(), d_z1);
        for (size_t i = 0; i < pixels_; ++i) d_z1[i] = a1_[i] > 0 ? d_z1[i] : 0.0f;
        share_backward(call_.costs[e] * call_.d_shares[0], call_.gate_slope, first, d_z1, z1_.data(), pixels_);
        norm_backward(path.first, e, call_.epsilon, d_z1, z1_.data(), pixels_);
    }

    void gated_backward(int64_t e, float* d_z1, float* d_zp) {
        const Path &value = call_.value, &predictor = call_.predictor;
        const auto [scale2, offset2] = affine_of(value.second, e, call_.epsilon);
        const float share2 = call_.costs[e] * call_.d_shares[1] / (float(out_pixels_) * call_.expanded);
        for (size_t i = 0; i < out_pixels_; ++i) {
            const float gradient = d_z2_[i], slope = call_.gate_slope * sigmoid_slope(call_.gate_slope * s2_[i]);
            d_s2_[i] = slope * (gradient * (z2_[i] * scale2 + offset2) + share2);
            d_z2_[i] = s2_[i] > 0 ? gradient : 0.0f;
        }
        norm_backward(value.second, e, call_.epsilon, d_z2_.data(), z2_.data(), out_pixels_);
        filter_backward(value, a1_padded_, e, d_z2_.data(), d_z1);
        for (size_t i = 0; i < pixels_; ++i) d_z1[i] = excess_[i] > 0 ? d_z1[i] : 0.0f;
        norm_backward(value.first, e, call_.epsilon, d_z1, z1_.data(), pixels_);

        norm_backward(predictor.second, e, call_.epsilon, d_s2_.data(), zp2_.data(), out_pixels_);
        filter_backward(predictor, levels_padded_, e, d_s2_.data(), d_excess_.data());
        const float per_level = 1.0f / level_of(e), level_max = call_.level_max;
        for (size_t i = 0; i < pixels_; ++i) {
            const float x = excess_[i], d = d_excess_[i], passed = (x >= 0) & (x <= level_max) ? d : 0.0f;
            d_zp[i] = per_level * passed;
        }
        share_backward(per_level * call_.costs[e] * call_.d_shares[0], 1.0f, {1.0f, 0.0f}, d_zp, excess_.data(), pixels_);
        norm_backward(predictor.first, e, call_.epsilon, d_zp, zp_.data(), pixels_);
    }

    void expand_gradient(const Path& path, const Planes& inputs, int64_t group, int64_t e, const float* d_z) {
        wanted_.clear(), places_.clear();
        for (int64_t c = 0; c < width(); ++c) {
            if (path.expand_mask[e * width() + c] == 0) continue;
            wanted_.push_back(&inputs[(group * width() + c) * pixels_]), places_.push_back(e * width() + c);
        }
        const auto sums = dots(d_z, wanted_, pixels_);
        for (size_t j = 0; j < sums.size(); ++j) path.d_expand[places_[j]] = float(sums[j]);
    }

    void inputs_gradient(const Path& path, int64_t e, int64_t count, const Planes* d_z, float* d_inputs) {
        for (int64_t c = 0; c < width(); ++c) {
            terms_.clear();
            for (int64_t t = 0; t < count; ++t) terms_.add(d_z[t].data(), path.expand[(e + t) * width() + c]);
            combine(d_inputs + c * pixels_, terms_, pixels_, true);
        }
    }

    const BlockCall& call_;
    const Geometry& g_;
    const Planes &inputs_, &predictor_inputs_;
    size_t pixels_, out_pixels_;
    int taps_;
    Planes z1_, a1_, a1_padded_, z2_, excess_, zp_, levels_padded_, s2_, zp2_, filtered_, d_z2_, d_s2_, d_excess_, d_padded_;
    Planes a2_[TILE], d_z1_[TILE], d_zp_[TILE];
    Terms terms_;
    std::vector<const float*> wanted_;
    std::vector<int64_t> places_;
};

// Runs body(worker, split, group, first, last) for all expanded channels. Groups go to threads whole where they divide
// evenly; otherwise every group is split among the threads, and what they add to must be kept apart by `split`.
class Team {
  public:
    explicit Team(const BlockCall& call)
        : call_(call), geometry_{int(call.images), int(call.height), int(call.width), int(call.kernel / 2), int(call.stride)},
          inputs_(geometry_.pixels() * call.in_channels), predictor_inputs_(call.gated ? inputs_.size() : 0),
          splits_(call.groups % call.threads == 0 ? 1 : call.threads) {
        to_planes(inputs_.data(), call.inputs, geometry_.pixels(), int(call.in_channels));
        if (call.gated) to_planes(predictor_inputs_.data(), call.predictor_inputs, geometry_.pixels(), int(call.in_channels));
        for (int64_t t = 0; t < call.threads; ++t) workers_.emplace_back(call, geometry_, inputs_, predictor_inputs_);
    }

    template <typename Body>
    void run(Body body) {
        std::vector<std::thread> threads;
        for (int64_t t = 0; t < call_.threads; ++t) threads.emplace_back([this, t, &body] { work(t, body); });
        for (auto& thread : threads) thread.join();
    }

    // Sum over splits of planes [splits, channels, pixels], written as [pixels, channels].
    void collect(float* to, Planes& planes, size_t pixels, int64_t channels) {
        const size_t size = pixels * channels;
        for (int64_t s = 1; s < splits_; ++s)
            for (size_t i = 0; i < size; ++i) planes[i] += planes[s * size + i];
        from_planes(to, planes.data(), pixels, int(channels));
    }

    const Geometry& geometry() const { return geometry_; }
    int64_t splits() const { return splits_; }
    const std::vector<Worker>& workers() const { return workers_; }

  private:
    template <typename Body>
    void work(int64_t t, Body& body) {
        const int64_t per_group = call_.expanded / call_.groups;
        for (int64_t unit = t; unit < call_.groups * splits_; unit += call_.threads) {
            const int64_t group = unit / splits_, split = unit % splits_, start = group * per_group;
            body(workers_[t], split, group, start + split * per_group / splits_, start + (split + 1) * per_group / splits_);
        }
    }

    const BlockCall& call_;
    Geometry geometry_;
    Planes inputs_, predictor_inputs_;
    int64_t splits_;
    std::vector<Worker> workers_;
};

}  // namespace

extern "C" void archon_block_forward(const BlockCall* call) {
    Team team(*call);
    const size_t pixels = team.geometry().out_pixels();
    const int64_t channels = call->out_channels, rows = channels / call->groups;
    Planes outputs(team.splits() * channels * pixels);
    team.run([&](Worker& worker, int64_t split, int64_t group, int64_t first, int64_t last) {
        worker.forward(group, first, last, &outputs[(split * channels + group * rows) * pixels]);
    });
    team.collect(call->outputs, outputs, pixels, channels);
    double survivors[2] = {0, 0};
    for (const Worker& worker : team.workers())
        for (int gate = 0; gate < 2; ++gate) survivors[gate] += worker.survivors[gate];
    call->shares[0] = float(survivors[0] / (double(team.geometry().pixels()) * call->expanded));
    call->shares[1] = float(survivors[1] / (double(pixels) * call->expanded));
}

extern "C" void archon_block_backward(const BlockCall* call) {
    Team team(*call);
    const size_t pixels = team.geometry().pixels(), out_pixels = team.geometry().out_pixels();
    const int64_t channels = call->in_channels, columns = channels / call->groups, rows = call->out_channels / call->groups;
    Planes d_outputs(out_pixels * call->out_channels), d_inputs(team.splits() * channels * pixels);
    Planes d_predictor(call->gated ? d_inputs.size() : 0);
    to_planes(d_outputs.data(), call->d_outputs, out_pixels, int(call->out_channels));
    team.run([&](Worker& worker, int64_t split, int64_t group, int64_t first, int64_t last) {
        const size_t place = (split * channels + group * columns) * pixels;
        worker.backward(group, first, last, &d_outputs[group * rows * out_pixels], &d_inputs[place],
                        call->gated ? &d_predictor[place] : nullptr);
    });
    team.collect(call->d_inputs, d_inputs, pixels, channels);
    if (call->gated) team.collect(call->d_predictor_inputs, d_predictor, pixels, channels);
}

}  // namespace archon
