#include "ops/cards.h"

namespace shardit {

const std::vector<const OpCard*>& all_cards() {
#define SHARDIT_LIST_CARD(card) &card,
  static const std::vector<const OpCard*> cards = {SHARDIT_CARDS(SHARDIT_LIST_CARD)};
  return cards;
}

}  // namespace shardit
