"""Why a run served no more: which limits bind, who is behind them, and what they would be worth."""
