#include <cmath>

#include "tests/ops/case.h"

namespace shardit {
namespace {

// The two products are not rounded apart: mix is no fusion of two scales and a sum, whose bits are others.
TEST(Mix, IsOneFusedMultiplyAdd) {
  const int64_t images = 3, n = 200;
  Case c;
  const Type factor = {DType::kF32, {images}}, image = {DType::kF32, {images, n}};
  const Value a = c.in("a", factor), x = c.in("x", image), b = c.in("b", factor), y = c.in("y", image);
  c.out("mix", mix(a, x, b, y));
  c.out("apart", add(scale(a, x), scale(b, y)));
  c.compile();
  const auto av = normals(1, images), xv = normals(2, images * n), bv = normals(3, images), yv = normals(4, images * n);
  c.set("a", av), c.set("x", xv), c.set("b", bv), c.set("y", yv);
  c.run();
  const auto mixed = c.get<float>("mix"), apart = c.get<float>("apart");
  for (int64_t i = 0; i < images * n; ++i) ASSERT_EQ(mixed[i], std::fma(av[i / n], xv[i], bv[i / n] * yv[i])) << i;
  EXPECT_NE(mixed, apart);
}

TEST(Combine, AddsItsTermsInOrderInDoublePrecision) {
  Case c;
  const Type image = {DType::kF32, {1, 2}};
  c.out("sum", combine(c.in("factors", {DType::kF64, {3}}), {c.in("x", image), c.in("y", image), c.in("z", image)}));
  c.compile();
  c.set("factors", std::vector<double>{1, 1, -1});
  c.set("x", std::vector<float>{0x1p40f, 1});
  c.set("y", std::vector<float>{1, 2});
  c.set("z", std::vector<float>{0x1p40f, 4});
  c.run();
  EXPECT_EQ(c.get<float>("sum"), (std::vector<float>{1, -1}));
}

}  // namespace
}  // namespace shardit
