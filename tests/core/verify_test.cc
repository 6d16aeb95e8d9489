#include "core/verify.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/core/test_ops.h"

namespace shardit {
namespace {

using test::in;

TEST(Verify, AcceptsAPlainGraph) {
  Graph g;
  g.add1(test::plain, {in(g, "x")});
  EXPECT_EQ(find_violation(g), "");
}

TEST(Verify, FindsAReadBeforeTheValueIsMade) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")}), b = g.add1(test::plain, {a});
  g.node(1).in[0] = b.id;
  EXPECT_NE(find_violation(g).find("before it is made"), std::string::npos);
}

TEST(Verify, FindsAWaitForALaterNodeOrAnInput) {
  Graph g;
  const Value x = in(g, "x");
  g.add1(test::plain, {x});
  g.add1(test::plain, {x});
  g.node(1).after = {2};
  EXPECT_NE(find_violation(g).find("does not stand before it"), std::string::npos);
  g.node(1).after = {0};
  EXPECT_NE(find_violation(g).find("which signals nothing"), std::string::npos);
}

TEST(Verify, FindsAShapeThatTheRuleDoesNotGive) {
  Graph g;
  const Value a = g.add1(test::plain, {in(g, "x")});
  g.info(a.id).type.shape = {3};
  EXPECT_NE(find_violation(g).find("its shape rule gives [64]"), std::string::npos);
}

TEST(Verify, FindsAReaderOfAnOverwrittenValue) {
  Graph g;
  const Value x = in(g, "x");
  g.add1(test::update, {x});
  g.add1(test::plain, {x});
  EXPECT_NE(find_violation(g).find("still reads"), std::string::npos);
}

TEST(Verify, FindsAReaderOfAViewOfAnOverwrittenValue) {
  Graph g;
  const Value x = in(g, "x"), view = g.add1(test::view, {x});
  g.add1(test::update, {x});
  g.add1(test::plain, {view});
  EXPECT_NE(find_violation(g).find("still reads"), std::string::npos);
}

TEST(Verify, FindsAReaderOfWhatIsOverwrittenThroughAView) {
  Graph g;
  const Value x = in(g, "x");
  g.add1(test::update, {g.add1(test::view, {x})});
  g.add1(test::plain, {x});
  EXPECT_NE(find_violation(g).find("still reads"), std::string::npos);
}

TEST(Verify, AcceptsAReaderOfTheOtherHalf) {
  Graph g;
  const Value x = in(g, "x"), first = g.add1(test::half<0>, {x}), second = g.add1(test::half<1>, {x});
  g.add1(test::update, {first});
  g.add1(test::plain, {second});
  EXPECT_EQ(find_violation(g), "");
  g.add1(test::plain, {first});
  EXPECT_NE(find_violation(g).find("still reads"), std::string::npos);
}

TEST(Verify, NamesTheNode) {
  Graph g;
  const auto scope = g.scope("blocks.7.attn");
  const Value a = g.add1(test::plain, {in(g, "x")});
  g.info(a.id).type.shape = {3};
  EXPECT_NE(find_violation(g).find("blocks.7.attn"), std::string::npos);
}

TEST(Graph, UserErrorsNameLabelAndOp) {
  Graph g;
  OpCard picky = test::card("picky");
  picky.shape = [](const NodeTypes&) -> std::vector<Type> { throw UserError("expected something else"); };
  const auto scope = g.scope("blocks.3.mlp");
  try {
    g.add1(picky, {in(g, "x")});
    FAIL();
  } catch (const UserError& e) {
    EXPECT_STREQ(e.what(), "blocks.3.mlp: picky: expected something else");
  }
}

TEST(Graph, DumpsLabelOpTypesAndSource) {
  Graph g;
  const auto scope = g.scope("blocks.3");
  g.add1(test::plain, {in(g, "x", 8)});
  const std::string dump = g.dump();
  EXPECT_NE(dump.find("plain(%0:fp32[8])"), std::string::npos) << dump;
  EXPECT_NE(dump.find("# blocks.3"), std::string::npos) << dump;
  EXPECT_NE(dump.find("verify_test.cc:"), std::string::npos) << dump;
}

}  // namespace
}  // namespace shardit
